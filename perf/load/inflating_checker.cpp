#include "perf/load/inflating_checker.hpp"

#include <algorithm>

namespace corelane::perf {

LearnedAnswers::LearnedAnswers(const MessageRing& ring)
    : ring_(ring), known_(ring.messages()), inflater_(ws::kWindowBitsMax, true) {}

bool LearnedAnswers::is_answer(std::size_t number, bool compressed,
                               std::span<const std::byte> payload) {
  const auto expected =
      ring_.expected().subspan(number * ring_.answer_bytes(), ring_.answer_bytes());
  if (!compressed) return std::ranges::equal(payload, expected);
  std::vector<std::byte>& known = known_[number];
  if (!known.empty() && std::ranges::equal(payload, known)) return true;
  ++inflated_;
  if (inflater_.inflate(payload, expected.size()) != ws::InflateStatus::ok) return false;
  if (!std::ranges::equal(inflater_.output().bytes(), expected)) return false;
  known.assign(payload.begin(), payload.end());
  return true;
}

// A frame that has come in pieces is put together in `kept_`; all others are checked where they
// lie.
InflatingChecker::Result InflatingChecker::feed(std::span<const std::byte> bytes) {
  const std::size_t kept_before = kept_.size();
  if (kept_before != 0) kept_.insert(kept_.end(), bytes.begin(), bytes.end());
  const std::span<const std::byte> all =
      kept_before != 0 ? std::span<const std::byte>{kept_} : bytes;
  Result result;
  std::size_t at = 0;
  while (result.found == Found::drained) {
    ws::FrameHeader header;
    const auto rest = all.subspan(at);
    const auto status = ws::parse_frame_header(
        rest, {.receiver = ws::Role::client, .rsv1_negotiated = true}, header);
    if (status == ws::HeaderStatus::error) {
      result.found = Found::wrong;
      return result;
    }
    const std::size_t size = header.header_bytes + static_cast<std::size_t>(header.payload_bytes);
    if (status == ws::HeaderStatus::need_more || rest.size() < size) break;
    result.found = take(header, rest.first(size).subspan(header.header_bytes));
    if (!ws::is_control(header.opcode) && result.found == Found::drained) ++result.messages;
    at += size;
  }
  if (result.found == Found::drained) {
    result.consumed = bytes.size();
    if (kept_before != 0) {
      kept_.erase(kept_.begin(), kept_.begin() + static_cast<std::ptrdiff_t>(at));
    } else {
      kept_.assign(all.begin() + static_cast<std::ptrdiff_t>(at), all.end());
    }
  } else {
    result.consumed = at - kept_before;
    kept_.clear();
  }
  return result;
}

AnswerChecker::Found InflatingChecker::take(const ws::FrameHeader& header,
                                            std::span<const std::byte> payload) {
  if (ws::is_control(header.opcode)) {
    control_.assign(payload.begin(), payload.end());
    return header.opcode == ws::Opcode::ping    ? Found::ping
           : header.opcode == ws::Opcode::close ? Found::close
                                                : Found::drained;
  }
  const bool is_whole = header.is_final && header.opcode == ws::Opcode::text;
  if (!is_whole || !learned_.is_answer(next_, header.rsv1, payload)) return Found::wrong;
  next_ = next_ + 1 == learned_.messages() ? 0 : next_ + 1;
  return Found::drained;
}

}  // namespace corelane::perf
