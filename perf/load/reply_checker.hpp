#pragma once
// ReplyChecker: compares the stream with what must come back, byte for byte but for the holes. It
// expects each answer as one frame with the shortest header, as servers that do not fragment
// send it; anything else counts as wrong.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "perf/load/answer_checker.hpp"
#include "perf/load/message_ring.hpp"

namespace corelane::perf {

class ReplyChecker final : public AnswerChecker {
 public:
  // `ring` outlives it; the first message expected is `first`.
  ReplyChecker(const MessageRing& ring, std::size_t first) noexcept
      : ring_(ring), at_(first * ring.answer_bytes()) {}

  Result feed(std::span<const std::byte> bytes) noexcept override;
  std::span<const std::byte> control_payload() const noexcept override {
    return std::span{control_}.subspan(2, control_bytes_ - 2);
  }

 private:
  bool at_frame_start() const noexcept { return at_ % ring_.answer_bytes() == 0; }
  std::size_t matching(std::span<const std::byte> bytes) const noexcept;
  std::size_t matching_between_holes(std::span<const std::byte> bytes) const noexcept;
  bool take_control(std::span<const std::byte> bytes, Result& result) noexcept;

  const MessageRing& ring_;
  std::size_t at_;                            // in ring_.expected()
  std::array<std::byte, 2 + 125> control_{};  // a control frame, as far as it has come
  std::size_t control_bytes_ = 0;
  bool control_done_ = false;  // it was reported: another one begins
};

}  // namespace corelane::perf
