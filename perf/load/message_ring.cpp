#include "perf/load/message_ring.hpp"

#include <algorithm>
#include <cstring>

#include "runtime/assert.hpp"
#include "runtime/random.hpp"
#include "ws/frame.hpp"

namespace perf {
namespace {

// Both copies of the messages stay within L2 beside the socket buffers.
constexpr std::size_t kRingBytes = 128 * 1024;
constexpr std::size_t kMessagesMax = 1021;
constexpr std::uint64_t kSeed = 0x636f72656c616e65;  // the same bytes in every run
constexpr ws::MaskKey kMaskKey{std::byte{0x9d}, std::byte{0x31}, std::byte{0xe6}, std::byte{0x57}};

}  // namespace

MessageRing::MessageRing(Scheme scheme, std::size_t payload_bytes, std::size_t depth)
    : scheme_(scheme),
      messages_(std::max(std::min(kRingBytes / payload_bytes, kMessagesMax), depth + 1)),
      sent_bytes_(payload_bytes),
      echoed_bytes_(payload_bytes) {
  RT_ASSERT(payload_bytes > 0);
  if (scheme == Scheme::ws) {
    sent_bytes_ += ws::client_header_bytes(payload_bytes);
    echoed_bytes_ += ws::server_header_bytes(payload_bytes);
  }
  to_send_.resize(messages_ * sent_bytes_);
  expected_.resize(messages_ * echoed_bytes_);
  runtime::Random random(kSeed);
  std::vector<std::byte> payload(payload_bytes);
  for (std::uint32_t number = 0; number < messages_; ++number) {
    random.fill(payload);
    std::memcpy(payload.data(), &number, std::min(payload.size(), sizeof number));
    std::byte* sent = to_send_.data() + number * sent_bytes_;
    std::byte* echoed = expected_.data() + number * echoed_bytes_;
    if (scheme == Scheme::ws) {
      sent += ws::write_client_header(sent, {}, payload_bytes, kMaskKey);
      ws::copy_masked(payload, sent, kMaskKey);
      echoed += ws::write_server_header(echoed, {}, payload_bytes);
    } else {
      std::memcpy(sent, payload.data(), payload_bytes);
    }
    std::memcpy(echoed, payload.data(), payload_bytes);
  }
}

}  // namespace perf
