#pragma once
// Frames for tests, built by an encoder of its own: it can write everything that a real one must
// not. Bytes are std::string here, since tests compare and concatenate them.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/prng.hpp"
#include "ws/deflate.hpp"
#include "ws/message_reader.hpp"

namespace corelane::tests::wire {

inline std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span{text.data(), text.size()});
}
inline std::string as_string(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

struct FrameSpec {
  unsigned opcode = 1;
  std::string payload = {};
  bool is_final = true;
  unsigned rsv = 0;       // 4 = RSV1
  int length_bytes = -1;  // -1: the shortest form; 0, 2 or 8
  int masked = -1;        // -1: as the role that sends asks for
};

inline void append_number(std::string& to, std::uint64_t value, int size) {
  for (int i = size - 1; i >= 0; --i) to.push_back(static_cast<char>(value >> (8 * i)));
}

// The header of a frame that announces `size` bytes.
inline std::string header(const FrameSpec& spec, std::uint64_t size, bool is_masked) {
  std::string wire;
  wire.push_back(static_cast<char>((spec.is_final ? 0x80U : 0U) | spec.rsv << 4 | spec.opcode));
  int length_bytes = spec.length_bytes;
  if (length_bytes < 0) length_bytes = size < 126 ? 0 : size < 65536 ? 2 : 8;
  const unsigned mask_bit = is_masked ? 0x80 : 0;
  const std::uint64_t first = length_bytes == 0 ? size : length_bytes == 2 ? 126 : 127;
  wire.push_back(static_cast<char>(mask_bit | first));
  append_number(wire, size, length_bytes);
  return wire;
}

inline std::string masked(std::string payload, std::string_view key) {
  for (std::size_t i = 0; i < payload.size(); ++i) {
    payload[i] = static_cast<char>(payload[i] ^ key[i % 4]);
  }
  return payload;
}

// A frame for a reader in the role `receiver`.
inline std::string frame(const FrameSpec& spec, ws::Role receiver = ws::Role::server) {
  const bool is_masked = spec.masked < 0 ? receiver == ws::Role::server : spec.masked != 0;
  std::string wire = header(spec, spec.payload.size(), is_masked);
  if (!is_masked) return wire + spec.payload;
  constexpr std::string_view kKey = "\x5A\xC3\x01\xFE";
  return wire + std::string{kKey} + masked(spec.payload, kKey);
}

inline std::string close_payload(unsigned code, std::string_view reason = {}) {
  std::string payload = {};
  append_number(payload, code, 2);
  return payload.append(reason);
}

// A sink that writes down what it is told, one line an event.
struct Recorder {
  std::vector<std::string> events;
  std::size_t pause_after = SIZE_MAX;  // says stop after this many events
  bool keeps_messages = false;         // takes every message
  std::vector<ws::OwnedBytes> kept;
  ws::Inflater* inflater_in_use = nullptr;

  bool note(std::string line) {
    events.push_back(std::move(line));
    return events.size() < pause_after;
  }
  bool on_message(ws::Message message) {
    const std::string line =
        std::string{message.kind() == ws::MessageKind::text ? "text:" : "binary:"}.append(
            message.text());
    // The room is ours: a reader that lent it wrongly shows in what follows or in a sanitizer.
    std::memset(message.payload().data() - message.header_room(), 0xA5, message.header_room());
    std::memset(message.payload().data(), 0xA5, message.payload().size());
    if (keeps_messages) kept.push_back(message.take_or_copy());
    return note(line);
  }
  bool on_ping(std::span<const std::byte> payload) { return note("ping:" + as_string(payload)); }
  bool on_pong(std::span<const std::byte> payload) { return note("pong:" + as_string(payload)); }
  bool on_close(ws::CloseCode code, std::string_view reason) {
    return note("close:" + std::to_string(static_cast<unsigned>(code)) + ":" + std::string{reason});
  }
  ws::Inflater& inflater() { return *inflater_in_use; }
};

// How a stream is cut into receives.
class Cuts {
 public:
  static Cuts whole() { return Cuts{SIZE_MAX, nullptr}; }
  static Cuts every(std::size_t size) { return Cuts{size, nullptr}; }
  static Cuts random(tests::Prng& prng) { return Cuts{0, &prng}; }
  std::size_t next() const {
    if (prng_ == nullptr) return size_;
    // Mostly small, sometimes large.
    return 1 + prng_->below(prng_->chance(1, 8) ? 5000 : 1 + prng_->below(40));
  }

 private:
  Cuts(std::size_t size, tests::Prng* prng) : size_(size), prng_(prng) {}
  std::size_t size_;
  tests::Prng* prng_;
};

// Feeds `stream` to the reader, each receive in a block of exactly its size. A failure is recorded
// as "fail:CODE" and ends the feeding. What a closed reader does not take is dropped.
inline void feed(ws::MessageReader& reader, Recorder& sink, std::string_view stream,
                 const ws::ReaderLimits& limits, const Cuts& cuts) {
  while (!stream.empty()) {
    const std::string_view piece = stream.substr(0, cuts.next());
    stream.remove_prefix(piece.size());
    const auto block = std::make_unique<std::byte[]>(piece.size());
    std::memcpy(block.get(), piece.data(), piece.size());
    std::span<std::byte> rest{block.get(), piece.size()};
    while (!rest.empty()) {
      const ws::ReadResult result = reader.consume(rest, limits, sink);
      if (result.status == ws::ReadStatus::failed) {
        sink.events.push_back("fail:" + std::to_string(static_cast<unsigned>(result.code)));
        return;
      }
      if (result.status == ws::ReadStatus::closed) break;
      rest = rest.subspan(result.consumed);
    }
  }
}

// What a fresh reader makes of a stream.
inline std::vector<std::string> events_of(std::string_view stream, const ws::ReaderLimits& limits,
                                          const Cuts& cuts, ws::Role role = ws::Role::server) {
  ws::MessageReader reader{role};
  Recorder sink;
  feed(reader, sink, stream, limits, cuts);
  return sink.events;
}

}  // namespace corelane::tests::wire
