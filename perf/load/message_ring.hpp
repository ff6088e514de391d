#pragma once
// MessageRing: the messages of an echo load, built once and sent over and over, and the exact bytes
// that must come back. All connections of a core share one; each begins at another message and goes
// round, so that sending is a pointer into `to_send` and checking is a comparison with `expected`:
//
//   to_send:   [ header key payload 0 ][ header key payload 1 ] ... [ payload n-1 ]   masked (ws)
//   expected:  [ header payload 0 ][ header payload 1 ] ...                           unmasked
//
// Every message begins with its number and goes on with bytes of a generator, so a message that is
// lost, doubled, reordered, damaged or of another connection differs. All frames have one mask key,
// which RFC 6455 forbids to programs that send for others (section 10.3) and a load may do.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "perf/load/target.hpp"

namespace perf {

class MessageRing {
 public:
  // `payload_bytes` > 0; holds more than `depth` messages, so that no two in flight are equal
  // (payloads of one byte excepted).
  MessageRing(Scheme scheme, std::size_t payload_bytes, std::size_t depth);

  std::size_t messages() const noexcept { return messages_; }
  std::size_t sent_bytes() const noexcept { return sent_bytes_; }      // a message, with its header
  std::size_t echoed_bytes() const noexcept { return echoed_bytes_; }  // its echo, with its header
  bool is_framed() const noexcept { return scheme_ == Scheme::ws; }
  std::span<const std::byte> expected() const noexcept { return expected_; }
  // `count` whole messages from number `first` on; first + count <= messages().
  std::span<const std::byte> to_send(std::size_t first, std::size_t count) const noexcept {
    return std::span{to_send_}.subspan(first * sent_bytes_, count * sent_bytes_);
  }

 private:
  Scheme scheme_;
  std::size_t messages_;
  std::size_t sent_bytes_;
  std::size_t echoed_bytes_;
  std::vector<std::byte> to_send_;
  std::vector<std::byte> expected_;
};

}  // namespace perf
