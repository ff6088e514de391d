#include "net/http/request_parser.hpp"

#include <algorithm>

#include "runtime/assert.hpp"

namespace corelane::net::http {
namespace {

// Buffer memory that an idle connection may keep for its next request.
constexpr std::size_t kKeptHeadBytes = 1024;
constexpr std::size_t kKeptBodyBytes = 4 * 1024;
// Reserved at once for a body that does not come whole; beyond it memory grows with what arrives.
constexpr std::uint64_t kBodyReserveBytes = 16 * 1024;
constexpr std::size_t kFieldsReserved = 16;

std::string_view to_text(std::span<const std::byte> bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::span<const std::byte> to_bytes(std::string_view text) noexcept {
  return std::as_bytes(std::span{text});
}

Limits with_body(Limits limits, std::uint64_t bytes_max) noexcept {
  limits.body_bytes_max = std::max(limits.body_bytes_max, bytes_max);
  return limits;
}

}  // namespace

RequestParser::RequestParser(const Limits& limits, std::uint64_t pieces_bytes_max)
    : limits_(limits),
      check_(HeadCheck::Kind::request, with_body(limits, pieces_bytes_max)),
      chunks_(limits),
      stops_at_bodies_(pieces_bytes_max != 0) {
  fields_.reserve(std::min(kFieldsReserved, limits.fields_max));
}

RequestParser::Progress RequestParser::feed(std::span<const std::byte> input) {
  switch (stage_) {
    case Stage::head:
      return feed_head(to_text(input));
    case Stage::length_body:
    case Stage::chunked_body:
      return feed_body(to_text(input));
    case Stage::before_body:
    case Stage::complete:
      break;
    case Stage::failed:
      return {Event::error, 0};
  }
  RT_ASSERT(stage_ != Stage::complete);
  RT_ASSERT(stage_ != Stage::before_body);
  return {Event::error, 0};
}

RequestParser::Progress RequestParser::fail(Status status, const char* why,
                                            std::size_t consumed) noexcept {
  status_ = status;
  why_ = why;
  stage_ = Stage::failed;
  request_ = {};
  return {Event::error, consumed};
}

RequestParser::Progress RequestParser::feed_head(std::string_view input) {
  const auto verdict = head_.scan(check_, input, fields_, limits_.head_bytes_max());
  if (verdict == HeadCheck::Verdict::failed) {
    return fail(check_.status(), check_.why(), input.size());
  }
  if (verdict == HeadCheck::Verdict::need_more) return {Event::need_more, input.size()};

  const HeadFacts& facts = check_.facts();
  const std::size_t consumed = head_.consumed(facts.end);
  const std::string_view rest = input.substr(consumed);
  const bool whole = !facts.chunked && facts.content_length <= rest.size();
  if (!take_head(head_.head(input, facts.end, !whole, fields_))) {
    return fail(Status::bad_request, "malformed Connection or Content-Length", consumed);
  }
  if (!facts.chunked && facts.content_length == 0) return {finish({}), consumed};
  if (stops_at_bodies_) [[unlikely]] {
    stage_ = Stage::before_body;
    return {Event::body_follows, consumed};
  }
  const Progress progress = begin_body(rest);
  return {progress.event, consumed + progress.consumed};
}

RequestParser::Progress RequestParser::begin_body(std::string_view input) {
  const HeadFacts& facts = check_.facts();
  stage_ = facts.chunked ? Stage::chunked_body : Stage::length_body;
  body_remaining_ = facts.content_length;
  // A client that sends its body without waiting needs no interim response (RFC 9110 10.1.1).
  if (facts.expect_continue && input.empty()) return {Event::expect_continue, 0};
  return feed_body(input);
}

RequestParser::Progress RequestParser::take_body(std::span<const std::byte> input) {
  RT_ASSERT(stage_ == Stage::before_body);
  if (check_.limit_body(limits_.body_bytes_max, limits_.discarded_bytes_max) ==
      HeadCheck::Verdict::failed) {
    return fail(check_.status(), check_.why(), 0);
  }
  return begin_body(to_text(input));
}

bool RequestParser::begin_pieces(std::uint64_t bytes_max) noexcept {
  RT_ASSERT(stage_ == Stage::before_body);
  const HeadFacts& facts = check_.facts();
  if (facts.content_length > bytes_max) {
    fail(Status::content_too_large, kLargePieces, 0);
    return false;
  }
  chunks_.limit_body(bytes_max, 0);
  stage_ = facts.chunked ? Stage::chunked_body : Stage::length_body;
  body_remaining_ = facts.content_length;
  return true;
}

RequestParser::Progress RequestParser::feed_piece(std::span<const std::byte> input,
                                                  std::vector<std::byte>& data) {
  RT_ASSERT(is_in_body());
  std::size_t consumed = std::min<std::uint64_t>(body_remaining_, input.size());
  bool is_whole = false;
  if (stage_ == Stage::length_body) {
    data.insert(data.end(), input.begin(), input.begin() + static_cast<std::ptrdiff_t>(consumed));
    body_remaining_ -= consumed;
    is_whole = body_remaining_ == 0;
  } else {
    const ChunkDecoder::Progress progress = chunks_.feed(to_text(input), data);
    consumed = progress.consumed;
    if (progress.verdict == ChunkDecoder::Verdict::failed) {
      const bool is_large = chunks_.status() == Status::content_too_large;
      return fail(chunks_.status(), is_large ? kLargePieces : chunks_.why(), consumed);
    }
    is_whole = progress.verdict == ChunkDecoder::Verdict::complete;
  }
  if (!is_whole) return {Event::need_more, consumed};
  stage_ = Stage::complete;
  chunks_.limit_body(limits_.body_bytes_max, limits_.discarded_bytes_max);
  return {Event::complete, consumed};
}

bool RequestParser::take_head(std::string_view head) noexcept {
  const HeadFacts& facts = check_.facts();
  if (facts.has_bad_value) return false;
  request_.method = facts.method.in(head);
  request_.target = facts.target.in(head);
  request_.path = facts.path.in(head);
  request_.query = facts.query.in(head);
  request_.host = facts.host.in(head);
  request_.version = facts.version;
  request_.keep_alive = facts.keep_alive();
  request_.fields = fields_;
  request_.body = {};
  return true;
}

RequestParser::Progress RequestParser::feed_body(std::string_view input) {
  if (stage_ == Stage::length_body) return feed_length_body(input);
  const ChunkDecoder::Progress progress = chunks_.feed(input, body_);
  if (progress.verdict == ChunkDecoder::Verdict::failed) {
    return fail(chunks_.status(), chunks_.why(), progress.consumed);
  }
  if (progress.verdict == ChunkDecoder::Verdict::need_more) {
    return {Event::need_more, progress.consumed};
  }
  return {finish(body_), progress.consumed};
}

// The request is whole.
RequestParser::Event RequestParser::finish(std::span<const std::byte> body) noexcept {
  stage_ = Stage::complete;
  if (check_.facts().has_large_body || chunks_.is_too_large()) {
    status_ = Status::content_too_large;
    why_ = kLargeBody;
    return Event::refused;
  }
  if (check_.facts().expects_unknown) {
    status_ = Status::expectation_failed;
    why_ = kUnknownExpectation;
    return Event::refused;
  }
  request_.body = body;
  return Event::complete;
}

RequestParser::Progress RequestParser::feed_length_body(std::string_view input) {
  const std::size_t take = std::min<std::uint64_t>(body_remaining_, input.size());
  const std::span<const std::byte> bytes = to_bytes(input.substr(0, take));
  if (body_.empty() && take == body_remaining_) {
    body_remaining_ = 0;
    return {finish(bytes), take};
  }
  if (!check_.facts().has_large_body) {
    if (body_.empty()) body_.reserve(std::min(body_remaining_, kBodyReserveBytes));
    body_.insert(body_.end(), bytes.begin(), bytes.end());
  }
  body_remaining_ -= take;
  if (body_remaining_ != 0) return {Event::need_more, take};
  return {finish(body_), take};
}

void RequestParser::reset() noexcept {
  if (stage_ == Stage::failed) return;
  check_.reset();
  chunks_.reset();
  request_ = {};
  fields_.clear();
  head_.reset(kKeptHeadBytes);
  body_.clear();
  if (body_.capacity() > kKeptBodyBytes) std::vector<std::byte>{}.swap(body_);
  body_remaining_ = 0;
  stage_ = Stage::head;
}

void RequestParser::release() noexcept {
  stage_ = Stage::failed;
  request_ = {};
  fields_.clear();
  head_.reset(0);
  std::vector<std::byte>{}.swap(body_);
}

bool RequestParser::is_idle() const noexcept {
  return stage_ == Stage::head && (head_.gathered().empty() || head_.gathered() == "\r\n");
}

}  // namespace corelane::net::http
