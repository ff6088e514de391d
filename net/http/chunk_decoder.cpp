#include "net/http/chunk_decoder.hpp"

#include <algorithm>
#include <limits>
#include <span>

#include "net/http/message.hpp"
#include "net/http/syntax.hpp"
#include "runtime/assert.hpp"

namespace corelane::net::http {
namespace {

std::size_t skip_blanks(std::string_view text, std::size_t at) noexcept {
  while (at < text.size() && (text[at] == ' ' || text[at] == '\t')) ++at;
  return at;
}

std::size_t skip_token(std::string_view text, std::size_t at) noexcept {
  while (at < text.size() && is_token_char(text[at])) ++at;
  return at;
}

// From the opening quote; the offset behind the closing one, or npos (RFC 9110 section 5.6.4).
std::size_t skip_quoted_string(std::string_view text, std::size_t at) noexcept {
  for (++at; at < text.size(); ++at) {
    if (text[at] == '"') return at + 1;
    if (text[at] == '\\' && ++at == text.size()) return std::string_view::npos;
  }
  return std::string_view::npos;
}

// *( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] ), RFC 9112 section 7.1.1.
bool is_chunk_extension(std::string_view text) noexcept {
  if (!is_field_value(text)) return false;
  std::size_t at = 0;
  while (at < text.size()) {
    at = skip_blanks(text, at);
    if (at == text.size() || text[at] != ';') return false;
    at = skip_blanks(text, at + 1);
    const std::size_t name_end = skip_token(text, at);
    if (name_end == at) return false;
    at = name_end;
    const std::size_t equals = skip_blanks(text, at);
    if (equals == text.size() || text[equals] != '=') continue;
    at = skip_blanks(text, equals + 1);
    if (at == text.size()) return false;
    const std::size_t value_end =
        text[at] == '"' ? skip_quoted_string(text, at) : skip_token(text, at);
    if (value_end == std::string_view::npos || value_end == at) return false;
    at = value_end;
  }
  return true;
}

// A trailer that would have framed or routed the message had it come in the header.
bool is_forbidden_trailer(std::string_view name) noexcept {
  return field_name_equal(name, "content-length") || field_name_equal(name, "transfer-encoding") ||
         field_name_equal(name, "host");
}

}  // namespace

void ChunkDecoder::reset() noexcept {
  partial_line_.clear();
  body_bytes_ = 0;
  chunk_remaining_ = 0;
  extension_bytes_ = 0;
  trailer_bytes_ = 0;
  trailer_count_ = 0;
  stage_ = Stage::size_line;
}

bool ChunkDecoder::fail(Status status, const char* why) noexcept {
  status_ = status;
  why_ = why;
  stage_ = Stage::failed;
  return false;
}

// The next line without its CRLF; nothing if the input ends before it (the part is kept) or if the
// line is wrong (the stage is failed then). `bytes_max` counts the line with its CRLF.
std::optional<std::string_view> ChunkDecoder::take_line(std::string_view input, std::size_t& at,
                                                        std::size_t bytes_max, Status too_long,
                                                        const char* why) {
  const std::size_t line_feed = input.find('\n', at);
  const bool whole = line_feed != std::string_view::npos;
  const std::size_t end = whole ? line_feed + 1 : input.size();
  const std::size_t line_bytes = partial_line_.size() + (end - at);
  if (line_bytes + (whole ? 0 : 1) > bytes_max) {
    fail(too_long, why);
    return std::nullopt;
  }
  std::string_view line = input.substr(at, end - at);
  at = end;
  if (!whole || !partial_line_.empty()) {
    partial_line_.append(line);
    line = partial_line_;
  }
  if (!whole) return std::nullopt;
  if (line.size() < 2 || line[line.size() - 2] != '\r') {
    fail(Status::bad_request, "a line that does not end with CRLF");
    return std::nullopt;
  }
  return line.substr(0, line.size() - 2);
}

bool ChunkDecoder::on_size_line(std::string_view line) noexcept {
  std::uint64_t size = 0;
  std::size_t digits = 0;
  for (; digits < line.size() && hex_digit(line[digits]) >= 0; ++digits) {
    const bool fits = size <= std::numeric_limits<std::uint64_t>::max() >> 4;
    const auto digit = static_cast<std::uint64_t>(hex_digit(line[digits]));
    size = fits ? (size << 4 | digit) : std::numeric_limits<std::uint64_t>::max();
  }
  const std::string_view extension = line.substr(digits);
  if (digits == 0 || !is_chunk_extension(extension)) {
    return fail(Status::bad_request, "malformed chunk size");
  }
  extension_bytes_ += extension.size();
  if (extension_bytes_ > limits_.chunk_extension_bytes_max) {
    return fail(Status::bad_request, "too many bytes of chunk extensions");
  }
  const std::uint64_t bytes_max = limits_.body_bytes_max + limits_.discarded_bytes_max;
  RT_ASSERT(body_bytes_ <= bytes_max);
  if (size > bytes_max - body_bytes_) return fail(Status::content_too_large, kLargeBody);
  body_bytes_ += size;
  chunk_remaining_ = size;
  stage_ = size == 0 ? Stage::trailer : Stage::data;
  return true;
}

bool ChunkDecoder::on_trailer_line(std::string_view line) noexcept {
  if (line.empty()) {
    stage_ = Stage::complete;
    return true;
  }
  trailer_bytes_ += line.size() + 2;
  if (++trailer_count_ > limits_.fields_max) {
    return fail(Status::request_header_fields_too_large,
                "more trailer fields than limits.header_fields_max");
  }
  const std::optional<Field> field = split_field_line(line);
  if (!field || is_forbidden_trailer(field->name)) {
    return fail(Status::bad_request, "malformed or forbidden trailer field");
  }
  return true;
}

ChunkDecoder::Progress ChunkDecoder::feed(std::string_view input, std::vector<std::byte>& body) {
  std::size_t at = 0;
  for (;;) {
    std::string_view piece;
    const Progress progress = feed_piece(input.substr(at), piece);
    const auto bytes = std::as_bytes(std::span{piece});
    body.insert(body.end(), bytes.begin(), bytes.end());
    at += progress.consumed;
    if (progress.verdict != Verdict::need_more || at == input.size()) {
      return {progress.verdict, at};
    }
  }
}

ChunkDecoder::Progress ChunkDecoder::feed_piece(std::string_view input, std::string_view& piece) {
  RT_ASSERT(stage_ != Stage::complete);
  RT_ASSERT(stage_ != Stage::failed);
  piece = {};
  std::size_t at = 0;
  while (at < input.size() && piece.empty() && stage_ != Stage::complete &&
         stage_ != Stage::failed) {
    switch (stage_) {
      case Stage::size_line:
        if (const auto line = take_line(input, at, limits_.chunk_line_bytes_max,
                                        Status::bad_request, "a chunk's line is too long")) {
          on_size_line(*line);
          partial_line_.clear();
        }
        break;
      case Stage::data: {
        const std::string_view data = input.substr(at, chunk_remaining_);
        if (!is_too_large()) piece = data;
        at += data.size();
        chunk_remaining_ -= data.size();
        if (chunk_remaining_ == 0) stage_ = Stage::data_cr;
        break;
      }
      case Stage::data_cr:
        if (input[at++] == '\r') {
          stage_ = Stage::data_lf;
        } else {
          fail(Status::bad_request, "chunk data without its CRLF");
        }
        break;
      case Stage::data_lf:
        if (input[at++] == '\n') {
          stage_ = Stage::size_line;
        } else {
          fail(Status::bad_request, "chunk data without its CRLF");
        }
        break;
      case Stage::trailer: {
        // Two more for the empty line, which is no trailer.
        const std::size_t allowed = limits_.header_bytes_max + 2 - trailer_bytes_;
        if (const auto line = take_line(input, at, allowed, Status::request_header_fields_too_large,
                                        "trailer larger than limits.header_bytes_max")) {
          on_trailer_line(*line);
          partial_line_.clear();
        }
        break;
      }
      case Stage::complete:
      case Stage::failed:
        break;
    }
  }
  if (stage_ == Stage::failed) return {Verdict::failed, at};
  return {stage_ == Stage::complete ? Verdict::complete : Verdict::need_more, at};
}

}  // namespace corelane::net::http
