#include "perf/load/reply_checker.hpp"

#include <algorithm>
#include <cstring>

#include "ws/frame.hpp"

namespace corelane::perf {

// The bytes at the front that are as expected, as far as one comparison tells: all up to the end of
// the ring, or else those up to the end of the present frame, or none.
std::size_t ReplyChecker::matching(std::span<const std::byte> bytes) const noexcept {
  if (!ring_.compared().empty()) return matching_between_holes(bytes);
  const std::span<const std::byte> expected = ring_.expected().subspan(at_);
  const std::size_t most = std::min(bytes.size(), expected.size());
  if (std::memcmp(bytes.data(), expected.data(), most) == 0) return most;
  const std::size_t frame = ring_.answer_bytes() - at_ % ring_.answer_bytes();
  if (frame >= most) return 0;
  return std::memcmp(bytes.data(), expected.data(), frame) == 0 ? frame : 0;
}

// The same up to the end of the present answer at most.
std::size_t ReplyChecker::matching_between_holes(std::span<const std::byte> bytes) const noexcept {
  const std::size_t begin = at_ % ring_.answer_bytes();
  const std::size_t end = std::min(ring_.answer_bytes(), begin + bytes.size());
  const std::byte* expected = ring_.expected().data() + at_;
  for (const ByteRange& range : ring_.compared()) {
    const std::size_t from = std::max(range.begin, begin);
    const std::size_t to = std::min(range.end, end);
    if (from >= to) continue;
    if (std::memcmp(bytes.data() + (from - begin), expected + (from - begin), to - from) != 0) {
      return 0;
    }
  }
  return end - begin;
}

ReplyChecker::Result ReplyChecker::feed(std::span<const std::byte> bytes) noexcept {
  Result result;
  while (result.consumed < bytes.size()) {
    const std::span<const std::byte> rest = bytes.subspan(result.consumed);
    const bool in_control = control_bytes_ != 0 && !control_done_;
    const bool begins_control = ring_.is_framed() && at_frame_start() &&
                                ws::is_control(static_cast<ws::Opcode>(rest[0] & std::byte{0x0F}));
    if (in_control || begins_control) [[unlikely]] {
      if (!take_control(rest, result)) return result;
      continue;
    }
    const std::size_t good = matching(rest);
    if (good == 0) {
      result.found = Found::wrong;
      return result;
    }
    result.messages += (at_ + good) / ring_.answer_bytes() - at_ / ring_.answer_bytes();
    result.consumed += good;
    at_ = (at_ + good) % ring_.expected().size();
  }
  return result;
}

// False if there is something to tell the caller.
bool ReplyChecker::take_control(std::span<const std::byte> bytes, Result& result) noexcept {
  if (control_done_) {
    control_bytes_ = 0;
    control_done_ = false;
  }
  for (const std::byte byte : bytes) {
    control_[control_bytes_++] = byte;
    ++result.consumed;
    const auto opening = std::to_integer<unsigned>(control_[0]);
    const auto payload = std::to_integer<unsigned>(control_[1]);
    if (control_bytes_ < 2) continue;
    // Final, no reserved bits, unmasked, short.
    if ((opening & 0xF0) != 0x80 || payload > ws::kControlPayloadBytesMax) {
      result.found = Found::wrong;
      return false;
    }
    if (control_bytes_ < 2 + payload) continue;
    control_done_ = true;
    switch (static_cast<ws::Opcode>(opening & 0x0F)) {
      case ws::Opcode::ping:
        result.found = Found::ping;
        return false;
      case ws::Opcode::close:
        result.found = Found::close;
        return false;
      default:
        return true;  // a pong that nobody asked for
    }
  }
  return true;
}

}  // namespace corelane::perf
