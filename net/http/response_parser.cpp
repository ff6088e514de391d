#include "net/http/response_parser.hpp"

#include <algorithm>

#include "runtime/assert.hpp"

namespace corelane::net::http {
namespace {

std::string_view to_text(std::span<const std::byte> bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::span<const std::byte> to_bytes(std::string_view text) noexcept {
  return std::as_bytes(std::span{text});
}

// A response that is too large is of no use to its client, read to its end or not.
Limits without_discarding(Limits limits) noexcept {
  limits.discarded_bytes_max = 0;
  return limits;
}

}  // namespace

ResponseParser::ResponseParser(const Limits& limits, Bodies bodies)
    : limits_(limits),
      check_(HeadCheck::Kind::response, limits),
      chunks_(without_discarding(limits)),
      bodies_(bodies) {}

ResponseParser::Progress ResponseParser::fail(Status status, std::size_t consumed) noexcept {
  const bool malformed =
      status == Status::bad_request || status == Status::http_version_not_supported;
  failure_ = malformed ? Failure::malformed : Failure::limit_exceeded;
  stage_ = Stage::failed;
  if (bodies_ == Bodies::whole) response_ = {};
  piece_ = {};
  return {Event::error, consumed};
}

ResponseParser::Progress ResponseParser::complete(std::span<const std::byte> body,
                                                  std::size_t consumed) noexcept {
  response_.body = body;
  stage_ = Stage::complete;
  return {Event::complete, consumed};
}

ResponseParser::Progress ResponseParser::feed(std::span<const std::byte> input) {
  RT_ASSERT(stage_ != Stage::complete);
  if (stage_ == Stage::failed) return {Event::error, 0};
  return stage_ == Stage::head ? feed_head(to_text(input)) : feed_body(to_text(input));
}

ResponseParser::Progress ResponseParser::feed_head(std::string_view input) {
  const auto verdict = head_.scan(check_, input, fields_, limits_.head_bytes_max());
  if (verdict == HeadCheck::Verdict::failed) return fail(check_.status(), input.size());
  if (verdict == HeadCheck::Verdict::need_more) return {Event::need_more, input.size()};

  const HeadFacts& facts = check_.facts();
  const std::size_t consumed = head_.consumed(facts.end);
  const std::string_view rest = input.substr(consumed);
  const Stage next = stage_of_body();
  if (next == Stage::length_body && facts.content_length > limits_.body_bytes_max) {
    return fail(Status::content_too_large, consumed);
  }
  const bool in_pieces = bodies_ == Bodies::pieces;
  const bool whole =
      !in_pieces && (next == Stage::complete ||
                     (next == Stage::length_body && facts.content_length <= rest.size()));
  if (!take_head(head_.head(input, facts.end, !whole, fields_))) {
    return fail(Status::bad_request, consumed);
  }
  if (next == Stage::complete) return complete({}, consumed);
  stage_ = next;
  body_remaining_ = next == Stage::body_to_end ? limits_.body_bytes_max : facts.content_length;
  if (in_pieces) return {Event::head, consumed};
  const Progress progress = feed_body(rest);
  return {progress.event, consumed + progress.consumed};
}

// RFC 9112 section 6.3, in its order.
ResponseParser::Stage ResponseParser::stage_of_body() const noexcept {
  const HeadFacts& facts = check_.facts();
  const bool bodiless = answers_head_ || facts.status_code < 200 || facts.status_code == 204 ||
                        facts.status_code == 304;
  if (bodiless) return Stage::complete;
  if (facts.chunked) return Stage::chunked_body;
  if (!facts.has_content_length) return Stage::body_to_end;
  return facts.content_length == 0 ? Stage::complete : Stage::length_body;
}

bool ResponseParser::take_head(std::string_view head) noexcept {
  const HeadFacts& facts = check_.facts();
  if (facts.has_bad_value) return false;
  response_.status = static_cast<Status>(facts.status_code);
  response_.reason = facts.reason.in(head);
  response_.version = facts.version;
  // A 204 must not announce a body (RFC 9110 section 8.6): whether one follows is uncertain.
  const bool is_uncertain = facts.status_code == 204 && (facts.chunked || facts.content_length > 0);
  response_.keep_alive =
      facts.keep_alive() && stage_of_body() != Stage::body_to_end && !is_uncertain;
  response_.fields = fields_;
  response_.body = {};
  return true;
}

ResponseParser::Progress ResponseParser::feed_body(std::string_view input) {
  return bodies_ == Bodies::pieces ? feed_pieces(input) : feed_collecting(input);
}

ResponseParser::Progress ResponseParser::feed_pieces(std::string_view input) {
  if (stage_ == Stage::chunked_body) {
    std::string_view piece;
    const ChunkDecoder::Progress progress = chunks_.feed_piece(input, piece);
    piece_ = to_bytes(piece);
    if (progress.verdict == ChunkDecoder::Verdict::failed) {
      return fail(chunks_.status(), progress.consumed);
    }
    if (progress.verdict == ChunkDecoder::Verdict::complete) {
      return complete({}, progress.consumed);
    }
    return {piece.empty() ? Event::need_more : Event::body, progress.consumed};
  }
  const bool ends_with_stream = stage_ == Stage::body_to_end;
  if (ends_with_stream && input.size() > body_remaining_) {
    return fail(Status::content_too_large, input.size());
  }
  piece_ = to_bytes(input.substr(0, body_remaining_));
  body_remaining_ -= piece_.size();
  if (!ends_with_stream && body_remaining_ == 0) return complete({}, piece_.size());
  return {piece_.empty() ? Event::need_more : Event::body, piece_.size()};
}

ResponseParser::Progress ResponseParser::feed_collecting(std::string_view input) {
  if (stage_ == Stage::chunked_body) {
    const ChunkDecoder::Progress progress = chunks_.feed(input, body_);
    if (progress.verdict == ChunkDecoder::Verdict::failed) {
      return fail(chunks_.status(), progress.consumed);
    }
    if (progress.verdict == ChunkDecoder::Verdict::complete) {
      return complete(body_, progress.consumed);
    }
    return {Event::need_more, progress.consumed};
  }
  if (stage_ == Stage::body_to_end && input.size() > limits_.body_bytes_max - body_.size()) {
    return fail(Status::content_too_large, input.size());
  }
  const std::size_t take = stage_ == Stage::body_to_end
                               ? input.size()
                               : std::min<std::uint64_t>(body_remaining_, input.size());
  const std::span<const std::byte> bytes = to_bytes(input.substr(0, take));
  if (stage_ == Stage::length_body) {
    if (body_.empty() && take == body_remaining_) return complete(bytes, take);
    body_remaining_ -= take;
  }
  body_.insert(body_.end(), bytes.begin(), bytes.end());
  if (stage_ == Stage::length_body && body_remaining_ == 0) return complete(body_, take);
  return {Event::need_more, take};
}

ResponseParser::Event ResponseParser::feed_end() noexcept {
  if (stage_ == Stage::complete) return Event::complete;
  if (stage_ == Stage::failed) return Event::error;
  piece_ = {};
  if (stage_ == Stage::body_to_end) return complete(body_, 0).event;
  fail(Status::bad_request, 0);
  failure_ = Failure::truncated;
  return Event::error;
}

void ResponseParser::reset(bool answers_head) noexcept {
  if (stage_ == Stage::failed) return;
  check_.reset();
  chunks_.reset();
  response_ = {};
  fields_.clear();
  head_.reset(limits_.head_bytes_max());
  body_.clear();
  piece_ = {};
  body_remaining_ = 0;
  stage_ = Stage::head;
  answers_head_ = answers_head;
}

}  // namespace corelane::net::http
