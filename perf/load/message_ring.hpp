#pragma once
// MessageRing: the messages of a load whose answers are known, built once and sent over and over,
// and the exact bytes that must come back. Connections share one; each begins at another message
// and goes round, so that sending is a pointer into `to_send` and checking is a comparison with
// `expected`:
//
//   to_send:   [ message 0 ][ message 1 ] ... [ message n-1 ]
//   expected:  [ answer 0 ][ answer 1 ] ...                        all of one size
//
// Answers may have holes: bytes that the server chooses, such as its clock.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "perf/load/target.hpp"

namespace corelane::perf {

// Part of a message, or of an answer.
struct ByteRange {
  std::size_t begin = 0;
  std::size_t end = 0;
};

// One message and its answer, as they stand in the stream.
struct Exchange {
  std::vector<std::byte> sent;
  std::vector<std::byte> answer;
};

class MessageRing {
 public:
  // `exchanges`: not empty, the answers of one size. `framed`: answers are WebSocket frames, and
  // control frames may stand between them. `holes`: in each answer, ascending.
  MessageRing(bool framed, const std::vector<Exchange>& exchanges,
              const std::vector<ByteRange>& holes = {});

  std::size_t messages() const noexcept { return messages_; }
  std::size_t answer_bytes() const noexcept { return answer_bytes_; }  // of one
  bool is_framed() const noexcept { return framed_; }
  std::span<const std::byte> expected() const noexcept { return expected_; }
  // What is compared of each answer: the ranges between the holes. Empty: all of it.
  std::span<const ByteRange> compared() const noexcept { return compared_; }
  // `count` whole messages from number `first` on; first + count <= messages().
  std::span<const std::byte> to_send(std::size_t first, std::size_t count) const noexcept {
    return std::span{to_send_}.subspan(sent_at_[first], sent_at_[first + count] - sent_at_[first]);
  }

 private:
  bool framed_;
  std::size_t messages_;
  std::size_t answer_bytes_;
  std::vector<std::byte> to_send_;
  std::vector<std::size_t> sent_at_;  // where each begins in to_send_, and the end
  std::vector<std::byte> expected_;
  std::vector<ByteRange> compared_;
};

// How many messages a ring holds: more than `depth`, so that no two in flight are equal, and so few
// that both copies stay within L2 beside the socket buffers.
std::size_t ring_messages(std::size_t message_bytes, std::size_t depth) noexcept;

// Payloads of one size, different from each other: each begins with its number, as far as that
// fits, and goes on with bytes of a generator, the same in every run. So a message that is lost,
// doubled, reordered, damaged or of another connection differs. `text`: ASCII.
std::vector<std::vector<std::byte>> make_payloads(std::size_t count, std::size_t payload_bytes,
                                                  bool text = false);

// Messages that come back as they are. `payload_bytes` > 0.
MessageRing make_echo_ring(Scheme scheme, std::size_t payload_bytes, std::size_t depth,
                           bool text = false);

// Text messages that leave compressed (RFC 7692, each on its own): words and numbers, about a third
// of their size. expected() is the payloads themselves: how a server compresses them is its own
// business (InflatingChecker). The connections have negotiated permessage-deflate.
MessageRing make_compressed_ring(std::size_t payload_bytes, std::size_t depth);

// A whole frame around a payload, as a client sends it. All frames have one mask key, which RFC
// 6455 forbids to programs that send for others (section 10.3) and a load may do.
std::vector<std::byte> client_frame(std::span<const std::byte> payload, bool text = false);
// And as a server does.
std::vector<std::byte> server_frame(std::span<const std::byte> payload, bool text = false);

}  // namespace corelane::perf
