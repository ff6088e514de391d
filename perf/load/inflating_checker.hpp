#pragma once
// InflatingChecker: answers of a server that compresses (RFC 7692, each message on its own), whose
// bytes nobody knows before: the first answer to a message is inflated and compared with what was
// sent. The next ones are compared with that answer, and inflated only where they differ, so that
// the client does not spend its time on what zlib has said before. It expects each answer as one
// frame, compressed or not.

#include <cstddef>
#include <span>
#include <vector>

#include "perf/load/answer_checker.hpp"
#include "perf/load/message_ring.hpp"
#include "ws/deflate.hpp"
#include "ws/frame.hpp"

namespace corelane::perf {

// What the connections of a load have learned together. One core.
class LearnedAnswers {
 public:
  // `ring`, of make_compressed_ring(), outlives it.
  explicit LearnedAnswers(const MessageRing& ring);

  // Is this the payload of an answer to the message of that number?
  bool is_answer(std::size_t number, bool compressed, std::span<const std::byte> payload);
  std::size_t messages() const noexcept { return known_.size(); }
  std::uint64_t inflated() const noexcept { return inflated_; }

 private:
  const MessageRing& ring_;
  std::vector<std::vector<std::byte>> known_;  // compressed answers that were good; empty: none yet
  ws::Inflater inflater_;
  std::uint64_t inflated_ = 0;
};

class InflatingChecker final : public AnswerChecker {
 public:
  // `learned` outlives it; the first message expected is `first`.
  InflatingChecker(LearnedAnswers& learned, std::size_t first) noexcept
      : learned_(learned), next_(first) {}

  Result feed(std::span<const std::byte> bytes) override;
  std::span<const std::byte> control_payload() const noexcept override { return control_; }

 private:
  Found take(const ws::FrameHeader& header, std::span<const std::byte> payload);

  LearnedAnswers& learned_;
  std::size_t next_;             // number of the message whose answer is due
  std::vector<std::byte> kept_;  // part of a frame
  std::vector<std::byte> control_;
};

}  // namespace corelane::perf
