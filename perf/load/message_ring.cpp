#include "perf/load/message_ring.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <string_view>

#include "runtime/assert.hpp"
#include "runtime/random.hpp"
#include "ws/deflate.hpp"
#include "ws/frame.hpp"

namespace corelane::perf {
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

constexpr std::array<std::string_view, 16> kWords{
    "price",  "volume",  "session", "channel", "position", "timestamp", "sequence", "account",
    "update", "message", "latency", "symbol",  "offered",  "accepted",  "user",     "status"};

// A text of `bytes` bytes, as such services send: names that repeat, numbers that do not.
std::string make_sentence(runtime::Random& random, std::size_t number, std::size_t bytes) {
  std::string text = std::to_string(number);
  while (text.size() < bytes) {
    text += fmt::format(",\"{}\":{}", kWords[random.below(kWords.size())], random.below(100'000));
  }
  text.resize(bytes);
  return text;
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
      answer_bytes_(exchanges.front().answer.size()),
      compared_(between(holes, answer_bytes_)) {
  sent_at_.reserve(messages_ + 1);
  expected_.reserve(messages_ * answer_bytes_);
  for (const Exchange& exchange : exchanges) {
    RT_ASSERT(exchange.answer.size() == answer_bytes_);
    sent_at_.push_back(to_send_.size());
    to_send_.insert(to_send_.end(), exchange.sent.begin(), exchange.sent.end());
    expected_.insert(expected_.end(), exchange.answer.begin(), exchange.answer.end());
  }
  sent_at_.push_back(to_send_.size());
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

MessageRing make_compressed_ring(std::size_t payload_bytes, std::size_t depth) {
  RT_ASSERT(payload_bytes > 0);
  constexpr ws::FrameStart kStart{.opcode = ws::Opcode::text, .is_final = true, .rsv1 = true};
  runtime::Random random(kSeed);
  ws::Deflater deflater(ws::kWindowBitsMax, true);
  std::vector<Exchange> exchanges(ring_messages(payload_bytes, depth));
  for (std::size_t number = 0; number < exchanges.size(); ++number) {
    const std::string text = make_sentence(random, number, payload_bytes);
    const auto payload = std::as_bytes(std::span{text});
    ws::OwnedBytes compressed;
    deflater.deflate(payload, compressed);
    exchanges[number].answer.assign(payload.begin(), payload.end());
    std::vector<std::byte>& frame = exchanges[number].sent;
    frame.resize(ws::client_header_bytes(compressed.size()) + compressed.size());
    const std::size_t header =
        ws::write_client_header(frame.data(), kStart, compressed.size(), kMaskKey);
    ws::copy_masked(compressed.bytes(), frame.data() + header, kMaskKey);
  }
  return MessageRing(true, exchanges);
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

}  // namespace corelane::perf
