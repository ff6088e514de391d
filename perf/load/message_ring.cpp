#include "perf/load/message_ring.hpp"

#include <algorithm>
#include <cstring>

#include "runtime/assert.hpp"
#include "runtime/random.hpp"
#include "ws/frame.hpp"

namespace perf {
namespace {

constexpr std::size_t kRingBytes = 128 * 1024;
constexpr std::size_t kMessagesMax = 1021;
constexpr std::uint64_t kSeed = 0x636f72656c616e65;  // the same bytes in every run
constexpr ws::MaskKey kMaskKey{std::byte{0x9d}, std::byte{0x31}, std::byte{0xe6}, std::byte{0x57}};

constexpr ws::FrameStart frame_start(bool text) noexcept {
  return {.opcode = text ? ws::Opcode::text : ws::Opcode::binary};
}

// Letters, sixteen for the values of half a byte.
void make_ascii(std::span<std::byte> bytes) noexcept {
  for (std::byte& byte : bytes) byte = (byte & std::byte{0x0F}) | std::byte{0x60};
}

// The parts of an answer of `bytes` that are not holes.
std::vector<ByteRange> between(const std::vector<ByteRange>& holes, std::size_t bytes) {
  std::vector<ByteRange> kept;
  if (holes.empty()) return kept;
  std::size_t at = 0;
  for (const ByteRange& hole : holes) {
    if (hole.begin > at) kept.push_back({at, hole.begin});
    at = hole.end;
  }
  if (at < bytes) kept.push_back({at, bytes});
  return kept;
}

}  // namespace

MessageRing::MessageRing(bool framed, const std::vector<Exchange>& exchanges,
                         const std::vector<ByteRange>& holes)
    : framed_(framed),
      messages_(exchanges.size()),
      sent_bytes_(exchanges.front().sent.size()),
      answer_bytes_(exchanges.front().answer.size()),
      compared_(between(holes, answer_bytes_)) {
  to_send_.reserve(messages_ * sent_bytes_);
  expected_.reserve(messages_ * answer_bytes_);
  for (const Exchange& exchange : exchanges) {
    RT_ASSERT(exchange.sent.size() == sent_bytes_);
    RT_ASSERT(exchange.answer.size() == answer_bytes_);
    to_send_.insert(to_send_.end(), exchange.sent.begin(), exchange.sent.end());
    expected_.insert(expected_.end(), exchange.answer.begin(), exchange.answer.end());
  }
}

std::size_t ring_messages(std::size_t message_bytes, std::size_t depth) noexcept {
  return std::max(std::min(kRingBytes / message_bytes, kMessagesMax), depth + 1);
}

std::vector<std::vector<std::byte>> make_payloads(std::size_t count, std::size_t payload_bytes,
                                                  bool text) {
  RT_ASSERT(payload_bytes > 0);
  runtime::Random random(kSeed);
  std::vector<std::vector<std::byte>> payloads(count, std::vector<std::byte>(payload_bytes));
  for (std::uint32_t number = 0; number < count; ++number) {
    std::vector<std::byte>& payload = payloads[number];
    random.fill(payload);
    if (!text) {
      std::memcpy(payload.data(), &number, std::min(payload.size(), sizeof number));
      continue;
    }
    for (std::size_t i = 0; i < std::min(payload.size(), 2 * sizeof number); ++i) {
      payload[i] = static_cast<std::byte>(number >> (4 * i));
    }
    make_ascii(payload);
  }
  return payloads;
}

MessageRing make_echo_ring(Scheme scheme, std::size_t payload_bytes, std::size_t depth, bool text) {
  std::vector<Exchange> exchanges;
  for (const auto& payload :
       make_payloads(ring_messages(payload_bytes, depth), payload_bytes, text)) {
    if (scheme == Scheme::ws) {
      exchanges.push_back({client_frame(payload, text), server_frame(payload, text)});
    } else {
      exchanges.push_back({payload, payload});
    }
  }
  return MessageRing(scheme == Scheme::ws, exchanges);
}

std::vector<std::byte> client_frame(std::span<const std::byte> payload, bool text) {
  std::vector<std::byte> frame(ws::client_header_bytes(payload.size()) + payload.size());
  const std::size_t header =
      ws::write_client_header(frame.data(), frame_start(text), payload.size(), kMaskKey);
  ws::copy_masked(payload, frame.data() + header, kMaskKey);
  return frame;
}

std::vector<std::byte> server_frame(std::span<const std::byte> payload, bool text) {
  std::vector<std::byte> frame(ws::server_header_bytes(payload.size()) + payload.size());
  const std::size_t header =
      ws::write_server_header(frame.data(), frame_start(text), payload.size());
  if (!payload.empty()) std::memcpy(frame.data() + header, payload.data(), payload.size());
  return frame;
}

}  // namespace perf
