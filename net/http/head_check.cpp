#include "net/http/head_check.hpp"

#include <algorithm>
#include <limits>
#include <optional>

#include "net/http/syntax.hpp"
#include "net/http/text_scan.hpp"
#include "runtime/assert.hpp"

namespace corelane::net::http {
namespace {

// Faults that are found in more than one place.
constexpr const char* kNoRequest = "no HTTP request begins here";
constexpr const char* kNoCrlf = "a line that does not end with CRLF";
constexpr const char* kLongLine = "request line longer than limits.request_line_bytes_max";
constexpr const char* kRequestLine = "malformed request line";
constexpr const char* kStatusLine = "malformed status line";
constexpr const char* kLargeHeader = "header larger than limits.header_bytes_max";

constexpr AsciiSet kTokenChars{[](char c) { return is_token_char(c); }};
// VCHAR without '#': a fragment is never sent (RFC 9112 section 3.2.1).
constexpr AsciiSet kTargetChars{[](char c) { return c > 0x20 && c < 0x7f && c != '#'; }};

bool is_target_text(std::string_view text) noexcept {
  return std::all_of(text.begin(), text.end(), [](char c) { return kTargetChars.contains(c); });
}

constexpr bool is_blank(char c) noexcept {
  return c == ' ' || c == '\t';
}

// False if the beginning of a line shows that it is no request line. Clients of other protocols
// (TLS, our opcode protocol) are told at once, because they wait for an answer and never send the
// end of a line. `line` is not empty.
bool may_begin_request(std::string_view line) noexcept {
  if (!is_token_char(line.front())) return line.front() == '\r';
  const auto behind_method = std::find_if_not(line.begin(), line.end(), is_token_char);
  if (behind_method == line.end() || *behind_method == '\r') return true;
  return *behind_method >= ' ' && *behind_method <= '~';  // `char` is unsigned on ARM64
}

// Calls visit(token) for each member of a list of tokens, empty ones skipped (RFC 9110 section
// 5.6.1). False where it is no such list: two tokens without a comma, or anything else.
template <class Visit>
bool for_each_listed(std::string_view list, Visit visit) noexcept {
  bool needs_comma = false;
  for (std::size_t at = 0; at < list.size();) {
    const char c = list[at];
    if (is_token_char(c)) {
      if (needs_comma) return false;
      const std::size_t from = at;
      while (at < list.size() && is_token_char(list[at])) ++at;
      visit(list.substr(from, at - from));
      needs_comma = true;
    } else {
      if (c != ',' && !is_blank(c)) return false;
      if (c == ',') needs_comma = false;
      ++at;
    }
  }
  return true;
}

}  // namespace

HeadCheck::Verdict HeadCheck::fail(Status status, const char* why) noexcept {
  status_ = status;
  why_ = why;
  failed_ = true;
  return Verdict::failed;
}

HeadCheck::Verdict HeadCheck::scan(std::string_view bytes, std::vector<Field>& fields) {
  if (failed_) return Verdict::failed;
  RT_ASSERT(bytes.size() >= scanned_);
  RT_ASSERT(facts_.end == 0);
  for (;;) {
    if (scanned_ == line_start_ && bytes.size() >= kScanBytesMin) {
      const Verdict verdict = skim(bytes, fields);
      if (verdict != Verdict::need_more) return verdict;
    }
    const std::size_t line_feed = bytes.find('\n', scanned_);
    if (line_feed == std::string_view::npos) {
      scanned_ = bytes.size();
      return check_pending(bytes);
    }
    const Verdict verdict = in_fields_ ? check_field_line(bytes, line_feed, fields)
                                       : check_start_line(bytes, line_feed);
    if (verdict != Verdict::need_more) return verdict;
    scanned_ = line_feed + 1;
    line_start_ = line_feed + 1;
  }
}

// The fast path: takes lines as long as they are whole, well-formed and within the limits. At any
// other line it returns need_more, and the slow path decides.
HeadCheck::Verdict HeadCheck::skim(std::string_view bytes, std::vector<Field>& fields) {
  if (!in_fields_ && !skim_request_line(bytes)) return Verdict::need_more;
  const char* const begin = bytes.data();
  const char* const end = begin + bytes.size();
  const char* at = begin + line_start_;
  for (;;) {
    const char* const name_end = TextScan::skip(kTokenChars, at, end);
    if (name_end == at) {
      const bool is_end = end - at >= 2 && at[0] == '\r' && at[1] == '\n';
      return is_end ? finish(bytes, static_cast<std::size_t>(at + 2 - begin)) : Verdict::need_more;
    }
    if (name_end == end || *name_end != ':') return Verdict::need_more;
    const char* value = name_end + 1;
    while (value != end && is_blank(*value)) ++value;
    const char* value_end = TextScan::skip_field_text(value, end);
    if (end - value_end < 2 || value_end[0] != '\r' || value_end[1] != '\n') {
      return Verdict::need_more;
    }
    const auto line_end = static_cast<std::size_t>(value_end + 2 - begin);
    if (line_end - fields_start_ > limits_.header_bytes_max) return Verdict::need_more;
    if (field_count_ == limits_.fields_max) return Verdict::need_more;
    ++field_count_;
    while (value_end != value && is_blank(value_end[-1])) --value_end;
    const Field field{.name = {at, static_cast<std::size_t>(name_end - at)},
                      .value = {value, static_cast<std::size_t>(value_end - value)}};
    fields.push_back(field);
    const Verdict verdict = note_field(bytes, field);
    if (verdict != Verdict::need_more) return verdict;
    scanned_ = line_end;
    line_start_ = line_end;
    at = begin + line_end;
  }
}

bool HeadCheck::skim_request_line(std::string_view bytes) noexcept {
  if (kind_ != Kind::request) return false;
  const char* const end = bytes.data() + bytes.size();
  const char* const method = bytes.data() + line_start_;
  const char* const method_end = TextScan::skip(kTokenChars, method, end);
  if (method_end == method || method_end == end || *method_end != ' ') return false;
  const char* const target = method_end + 1;
  const char* const target_end = TextScan::skip(kTargetChars, target, end);
  constexpr std::string_view kVersion = " HTTP/1.";
  constexpr std::ptrdiff_t kVersionBytes = kVersion.size() + 1;
  if (target_end == target || end - target_end < kVersionBytes + 2) return false;
  const std::string_view version{target_end, kVersion.size() + 1};
  if (!version.starts_with(kVersion) || (version.back() != '1' && version.back() != '0')) {
    return false;
  }
  const char* const line_end = target_end + kVersionBytes;
  if (line_end[0] != '\r' || line_end[1] != '\n') return false;
  const auto line_bytes = static_cast<std::size_t>(line_end - method);
  if (line_bytes > limits_.request_line_bytes_max) return false;
  if (!note_target({method, static_cast<std::size_t>(method_end - method)},
                   {target, static_cast<std::size_t>(target_end - target)})) {
    return false;
  }
  facts_.version = version.back() == '1' ? 11 : 10;
  in_fields_ = true;
  line_start_ += line_bytes + 2;
  scanned_ = line_start_;
  fields_start_ = line_start_;
  return true;
}

// The views lie in the line that begins at line_start_ with the method. False: no such target.
bool HeadCheck::note_target(std::string_view method, std::string_view target) noexcept {
  const std::optional<TargetParts> parts = split_target(method, target);
  if (!parts) return false;
  const auto part = [this, method](std::string_view text) {
    if (text.empty()) return HeadPart{};
    return HeadPart{.offset = line_start_ + static_cast<std::size_t>(text.data() - method.data()),
                    .bytes = text.size()};
  };
  facts_.method = part(method);
  facts_.target = part(target);
  facts_.path = part(parts->path);
  facts_.query = part(parts->query);
  authority_ = part(parts->authority);
  return true;
}

// Bytes past the limit decide nothing: whether they have come already depends on the cut.
std::string_view HeadCheck::within_limit(std::string_view line) const noexcept {
  return line.substr(0, limits_.request_line_bytes_max + 1);
}

// Checks a line whose end has not come. Each rule gives the same status as the rule for the whole
// line, so the result does not depend on the sizes of the receives.
HeadCheck::Verdict HeadCheck::check_pending(std::string_view bytes) noexcept {
  const std::string_view line = bytes.substr(line_start_);
  if (line.empty()) return Verdict::need_more;
  if (!in_fields_) {
    if (kind_ == Kind::request && !may_begin_request(within_limit(line))) {
      return fail(Status::bad_request, kNoRequest);
    }
    if (line.size() > limits_.request_line_bytes_max + 1) {
      return fail(Status::uri_too_long, kLongLine);
    }
    return Verdict::need_more;
  }
  const bool may_be_the_end = line == "\r";
  if (!may_be_the_end && bytes.size() + 1 - fields_start_ > limits_.header_bytes_max) {
    return fail(Status::request_header_fields_too_large, kLargeHeader);
  }
  return Verdict::need_more;
}

HeadCheck::Verdict HeadCheck::check_start_line(std::string_view bytes,
                                               std::size_t line_feed) noexcept {
  std::string_view line = bytes.substr(line_start_, line_feed - line_start_);
  if (kind_ == Kind::request && (line.empty() || !may_begin_request(within_limit(line)))) {
    return fail(Status::bad_request, kNoRequest);
  }
  if (line.size() > limits_.request_line_bytes_max + 1) {
    return fail(Status::uri_too_long, kLongLine);
  }
  if (line.empty() || line.back() != '\r') return fail(Status::bad_request, kNoCrlf);
  line.remove_suffix(1);
  if (line.empty()) {
    // One empty line before a request is tolerated, for clients that end a body with a CRLF too
    // many (RFC 9112 section 2.2). A second one is not.
    if (skipped_empty_line_ || kind_ == Kind::response) {
      return fail(Status::bad_request, kNoRequest);
    }
    skipped_empty_line_ = true;
    return Verdict::need_more;
  }
  const Verdict verdict =
      kind_ == Kind::request ? check_request_line(line) : check_status_line(line);
  in_fields_ = true;
  fields_start_ = line_feed + 1;
  return verdict;
}

HeadCheck::Verdict HeadCheck::check_request_line(std::string_view line) noexcept {
  const std::size_t method_end = line.find(' ');
  if (method_end == std::string_view::npos) return fail(Status::bad_request, kRequestLine);
  const std::size_t target_end = line.find(' ', method_end + 1);
  if (target_end == std::string_view::npos) return fail(Status::bad_request, kRequestLine);
  const std::string_view method = line.substr(0, method_end);
  const std::string_view target = line.substr(method_end + 1, target_end - method_end - 1);
  if (!is_token(method) || !is_target_text(target)) {
    return fail(Status::bad_request, kRequestLine);
  }
  // The version comes before the form of the target: "PRI * HTTP/2.0" is a version we do not have.
  const Verdict verdict = check_version(line.substr(target_end + 1));
  if (verdict != Verdict::need_more) return verdict;
  return note_target(method, target) ? Verdict::need_more
                                     : fail(Status::bad_request, "malformed request target");
}

HeadCheck::Verdict HeadCheck::check_version(std::string_view text) noexcept {
  const bool well_formed = text.size() == 8 && text.substr(0, 5) == "HTTP/" && is_digit(text[5]) &&
                           text[6] == '.' && is_digit(text[7]);
  if (!well_formed) return fail(Status::bad_request, "malformed HTTP version");
  if (text[5] != '1' || text[7] > '1') {
    return fail(Status::http_version_not_supported, "only HTTP/1.1 and HTTP/1.0 are served");
  }
  facts_.version = text[7] == '1' ? 11 : 10;
  return Verdict::need_more;
}

HeadCheck::Verdict HeadCheck::check_status_line(std::string_view line) noexcept {
  if (line.size() < 13 || line[8] != ' ' || line[12] != ' ')
    return fail(Status::bad_request, kStatusLine);
  const Verdict verdict = check_version(line.substr(0, 8));
  if (verdict != Verdict::need_more) return verdict;
  const std::string_view code = line.substr(9, 3);
  if (!std::all_of(code.begin(), code.end(), is_digit))
    return fail(Status::bad_request, kStatusLine);
  facts_.status_code = (code[0] - '0') * 100 + (code[1] - '0') * 10 + (code[2] - '0');
  if (facts_.status_code < 100 || facts_.status_code > 599)
    return fail(Status::bad_request, kStatusLine);
  if (!is_field_value(line.substr(13))) return fail(Status::bad_request, kStatusLine);
  facts_.reason = {.offset = line_start_ + 13, .bytes = line.size() - 13};
  return Verdict::need_more;
}

HeadCheck::Verdict HeadCheck::check_field_line(std::string_view bytes, std::size_t line_feed,
                                               std::vector<Field>& fields) {
  std::string_view line = bytes.substr(line_start_, line_feed - line_start_);
  if (line == "\r") return finish(bytes, line_feed + 1);
  if (line_feed + 1 - fields_start_ > limits_.header_bytes_max) {
    return fail(Status::request_header_fields_too_large, kLargeHeader);
  }
  if (++field_count_ > limits_.fields_max) {
    return fail(Status::request_header_fields_too_large,
                "more header fields than limits.header_fields_max");
  }
  if (line.empty() || line.back() != '\r') return fail(Status::bad_request, kNoCrlf);
  line.remove_suffix(1);
  const std::optional<Field> field = split_field_line(line);
  if (!field) return fail(Status::bad_request, "malformed header field");
  fields.push_back(*field);
  return note_field(bytes, *field);
}

// The fields that frame the message or name its server. Lengths sort most of the others out.
HeadCheck::Verdict HeadCheck::note_field(std::string_view bytes, const Field& field) noexcept {
  switch (field.name.size()) {
    case 4:
      if (!field_name_is<"host">(field.name) || kind_ == Kind::response) break;
      if (has_host_ || !is_host(field.value)) {
        return fail(Status::bad_request, "Host is malformed or comes twice");
      }
      has_host_ = true;
      facts_.host = {.offset = static_cast<std::size_t>(field.value.data() - bytes.data()),
                     .bytes = field.value.size()};
      break;
    case 6:
      if (!field_name_is<"expect">(field.name)) break;
      if (field_name_is<"100-continue">(field.value)) {
        expects_continue_ = true;
      } else {
        facts_.expects_unknown = true;
      }
      break;
    case 10:
      if (field_name_is<"connection">(field.name)) note_connection(field.value);
      break;
    case 14:
      if (field_name_is<"content-length">(field.name)) return note_content_length(field.value);
      break;
    case 16:
      // It means nothing to us; a broken one may still mean something to a proxy before us.
      if (field_name_is<"proxy-connection">(field.name) &&
          !for_each_listed(field.value, [](auto) {})) {
        facts_.has_bad_value = true;
      }
      break;
    case 17:
      if (!field_name_is<"transfer-encoding">(field.name)) break;
      if (has_transfer_encoding_ || !field_name_is<"chunked">(field.value)) {
        return fail(Status::bad_request, "a Transfer-Encoding other than chunked, once");
      }
      has_transfer_encoding_ = true;
      facts_.chunked = true;
      break;
    default:
      break;
  }
  return Verdict::need_more;
}

void HeadCheck::note_connection(std::string_view value) noexcept {
  const bool is_list = for_each_listed(value, [this](std::string_view option) {
    if (field_name_is<"close">(option)) facts_.connection_close = true;
    if (field_name_is<"keep-alive">(option)) facts_.connection_keep_alive = true;
  });
  if (!is_list) facts_.has_bad_value = true;
}

HeadCheck::Verdict HeadCheck::note_content_length(std::string_view value) noexcept {
  const bool digits = !value.empty() && std::all_of(value.begin(), value.end(), is_digit);
  if (facts_.has_content_length || !digits) {
    return fail(Status::bad_request, "Content-Length is malformed or comes twice");
  }
  facts_.has_content_length = true;
  constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();
  for (const char c : value) {
    const auto digit = static_cast<std::uint64_t>(c - '0');
    const bool fits = facts_.content_length <= (kMax - digit) / 10;
    facts_.content_length = fits ? facts_.content_length * 10 + digit : kMax;
    if (fits) continue;
    facts_.has_bad_value = true;
    break;
  }
  return Verdict::need_more;
}

// The rules that need the whole head, in one fixed order: framing, host, size.
HeadCheck::Verdict HeadCheck::finish(std::string_view bytes, std::size_t end) noexcept {
  if (facts_.chunked && (facts_.has_content_length || facts_.version == 10)) {
    return fail(Status::bad_request,
                "Transfer-Encoding together with Content-Length, or in HTTP/1.0");
  }
  if (kind_ == Kind::request) {
    if (!has_host_ && facts_.version == 11) {
      return fail(Status::bad_request, "HTTP/1.1 without Host");
    }
    if (authority_.bytes != 0) {
      // RFC 9112 section 3.2.2 lets the target win, section 3.2 has clients send the same in both.
      // A difference is how a proxy and we would come to disagree, so it is refused.
      const bool is_same = field_name_equal(authority_.in(bytes), facts_.host.in(bytes));
      if (has_host_ && !is_same) {
        return fail(Status::bad_request, "Host differs from the host of the request target");
      }
      facts_.host = authority_;
    }
    facts_.expect_continue =
        expects_continue_ && facts_.version == 11 && (facts_.chunked || facts_.content_length > 0);
    if (limit_body(limits_.body_bytes_max, limits_.discarded_bytes_max) == Verdict::failed) {
      return Verdict::failed;
    }
  }
  facts_.end = end;
  return Verdict::complete;
}

HeadCheck::Verdict HeadCheck::limit_body(std::uint64_t bytes_max,
                                         std::uint64_t discarded_bytes_max) noexcept {
  facts_.has_large_body = facts_.content_length > bytes_max;
  // A client that waits for our 100 will not send it: the body's end would never come.
  const std::uint64_t discarded_max = facts_.expect_continue ? 0 : discarded_bytes_max;
  if (facts_.has_large_body && facts_.content_length - bytes_max > discarded_max) {
    return fail(Status::content_too_large, kLargeBody);
  }
  return Verdict::complete;
}

}  // namespace corelane::net::http
