#include "net/http/response.hpp"

#include <algorithm>
#include <charconv>
#include <stdexcept>

#include "net/http/syntax.hpp"
#include "runtime/assert.hpp"

namespace corelane::net::http {
namespace {

using Bytes = std::vector<std::byte>;

void append(Bytes& out, std::string_view text) {
  const auto bytes = std::as_bytes(std::span{text});
  out.insert(out.end(), bytes.begin(), bytes.end());
}

void append_number(Bytes& out, std::uint64_t number, int base = 10) {
  std::array<char, 20> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number, base).ptr;
  append(out, {digits.data(), static_cast<std::size_t>(end - digits.data())});
}

void append_field(Bytes& out, std::string_view name, std::string_view value) {
  append(out, name);
  append(out, ": ");
  append(out, value);
  append(out, "\r\n");
}

// Writing these twice, or with another value than the body has, would let a client and a proxy see
// different messages.
bool is_reserved(std::string_view name) noexcept {
  return field_name_equal(name, "connection") || field_name_equal(name, "content-length") ||
         field_name_equal(name, "transfer-encoding");
}

bool are_writable(std::span<const Field> fields) noexcept {
  return std::all_of(fields.begin(), fields.end(), [](const Field& field) {
    return is_token(field.name) && is_field_value(field.value) && !is_reserved(field.name);
  });
}

bool has_no_body(Status status) noexcept {
  const auto code = static_cast<unsigned>(status);
  return code < 200 || status == Status::no_content || status == Status::not_modified;
}

void append_status_line(Bytes& out, Status status) {
  append(out, "HTTP/1.1 ");
  append_number(out, static_cast<std::uint64_t>(status));
  append(out, " ");
  append(out, reason_phrase(status));
  append(out, "\r\n");
}

std::string_view connection_line(const ResponseContext& context) noexcept {
  if (!context.keep_alive) return "Connection: close\r\n";
  return context.version == 10 ? "Connection: keep-alive\r\n" : "";
}

// Writes text into room that is there.
class TextWriter {
 public:
  explicit TextWriter(std::byte* at) noexcept : at_(at) {}
  void put(std::string_view text) noexcept {
    const auto bytes = std::as_bytes(std::span{text});
    at_ = std::copy(bytes.begin(), bytes.end(), at_);
  }
  void put_number(std::uint64_t number) noexcept {
    char* const to = reinterpret_cast<char*>(at_);
    at_ += std::to_chars(to, to + kDigitsMax, number).ptr - to;
  }
  void put_field(std::string_view name, std::string_view value) noexcept {
    put(name);
    put(": ");
    put(value);
    put("\r\n");
  }
  std::byte* at() const noexcept { return at_; }
  static constexpr std::size_t kDigitsMax = 20;

 private:
  std::byte* at_;
};

// Status line and fields up to the empty line, and the body if there is one to send. Arguments are
// checked by the callers.
void append_response(Bytes& out, Status status, const ResponseContext& context,
                     const ResponseOptions& options, std::span<const std::byte> body) {
  const std::string_view reason = reason_phrase(status);
  const std::string_view connection = connection_line(context);
  // Room for the longest, at once: "HTTP/1.1 ", the status, blank, CRLF; Date, Content-Type and
  // Content-Length with blanks and CRLFs; the empty line.
  constexpr std::size_t kFixedBytes = 9 + 2 * TextWriter::kDigitsMax + 3 + 8 + 16 + 18 + 2;
  std::size_t head_bytes = kFixedBytes + reason.size() + options.date.size() +
                           options.content_type.size() + connection.size();
  for (const Field& field : options.fields)
    head_bytes += field.name.size() + field.value.size() + 4;
  const std::size_t before = out.size();
  out.reserve(before + head_bytes + (context.is_head ? 0 : body.size()));
  out.resize(before + head_bytes);

  TextWriter to{out.data() + before};
  to.put("HTTP/1.1 ");
  to.put_number(static_cast<std::uint64_t>(status));
  to.put(" ");
  to.put(reason);
  to.put("\r\n");
  if (!options.date.empty()) to.put_field("Date", options.date);
  if (!options.content_type.empty()) to.put_field("Content-Type", options.content_type);
  if (!has_no_body(status)) {
    to.put("Content-Length: ");
    to.put_number(body.size());
    to.put("\r\n");
  }
  for (const Field& field : options.fields) to.put_field(field.name, field.value);
  to.put(connection);
  to.put("\r\n");
  RT_ASSERT(to.at() <= out.data() + out.size());
  out.resize(static_cast<std::size_t>(to.at() - out.data()));
  if (!context.is_head) out.insert(out.end(), body.begin(), body.end());
}

}  // namespace

runtime::Result<void> write_response(Bytes& out, Status status, const ResponseContext& context,
                                     const ResponseOptions& options,
                                     std::span<const std::byte> body) {
  const bool writable = is_field_value(options.content_type) && is_field_value(options.date) &&
                        are_writable(options.fields);
  if (!writable || (has_no_body(status) && !body.empty())) {
    return runtime::fail(runtime::ErrorCode::invalid_argument);
  }
  append_response(out, status, context, options, body);
  return {};
}

runtime::Result<void> write_response(Bytes& out, Status status, const ResponseContext& context,
                                     const ResponseOptions& options, std::string_view body) {
  return write_response(out, status, context, options, std::as_bytes(std::span{body}));
}

runtime::Result<void> write_head(Bytes& out, Status status, const ResponseContext& context,
                                 const ResponseOptions& options, BodyFraming framing,
                                 std::uint64_t length) {
  RT_ASSERT(framing != BodyFraming::until_close || !context.keep_alive);
  const bool writable = is_field_value(options.content_type) && is_field_value(options.date) &&
                        are_writable(options.fields);
  if (!writable || has_no_body(status)) {
    return runtime::fail(runtime::ErrorCode::invalid_argument);
  }
  append_status_line(out, status);
  if (!options.date.empty()) append_field(out, "Date", options.date);
  if (!options.content_type.empty()) append_field(out, "Content-Type", options.content_type);
  if (framing == BodyFraming::length) {
    append(out, "Content-Length: ");
    append_number(out, length);
    append(out, "\r\n");
  } else if (framing == BodyFraming::chunked) {
    append_field(out, "Transfer-Encoding", "chunked");
  }
  for (const Field& field : options.fields) append_field(out, field.name, field.value);
  append(out, connection_line(context));
  append(out, "\r\n");
  return {};
}

void write_error(Bytes& out, Status status, const ErrorOptions& options) {
  RT_ASSERT(static_cast<unsigned>(status) >= 400);
  RT_ASSERT(is_field_value(options.allow));
  RT_ASSERT(is_field_value(options.date));
  RT_ASSERT(options.extra_fields.empty() || options.extra_fields.ends_with("\r\n"));
  Bytes text;
  if (options.reason.empty()) {
    append_number(text, static_cast<std::uint64_t>(status));
    append(text, " ");
    append(text, reason_phrase(status));
  } else {
    append(text, options.reason);
  }
  append(text, "\n");

  append_status_line(out, status);
  if (!options.date.empty()) append_field(out, "Date", options.date);
  append_field(out, "Content-Type", "text/plain; charset=utf-8");
  append(out, "Content-Length: ");
  append_number(out, text.size());
  append(out, "\r\n");
  append(out, options.extra_fields);
  const bool own_fields = options.extra_fields.empty();
  if (status == Status::method_not_allowed && own_fields) {
    append_field(out, "Allow", options.allow);
  }
  if (status == Status::service_unavailable) {
    append(out, "Retry-After: ");
    append_number(out, options.retry_after_s);
    append(out, "\r\n");
  }
  if (status == Status::upgrade_required) {
    if (own_fields) {
      append_field(out, "Upgrade", "websocket");
      append_field(out, "Sec-WebSocket-Version", "13");
    }
    // Upgrade is a hop-by-hop field and has to be named (RFC 9110 section 7.8).
    const bool is_old = options.context.version == 10;
    append(out, !options.context.keep_alive ? "Connection: Upgrade, close\r\n"
                : is_old                    ? "Connection: Upgrade, keep-alive\r\n"
                                            : "Connection: Upgrade\r\n");
  } else {
    append(out, connection_line(options.context));
  }
  append(out, "\r\n");
  if (!options.context.is_head) out.insert(out.end(), text.begin(), text.end());
}

bool is_field_of_error(Status status, std::string_view name) noexcept {
  return is_reserved(name) || field_name_equal(name, "date") ||
         field_name_equal(name, "content-type") ||
         (status == Status::service_unavailable && field_name_equal(name, "retry-after"));
}

StaticResponse::StaticResponse(Status status, std::string_view content_type, std::string_view body,
                               std::span<const Field> fields) {
  const ResponseOptions options{.content_type = content_type, .date = {}, .fields = fields};
  constexpr std::array<ResponseContext, kVariants> kContexts{{
      {.keep_alive = false, .is_head = false, .version = 11},
      {.keep_alive = true, .is_head = false, .version = 11},
      {.keep_alive = true, .is_head = false, .version = 10},
  }};
  for (std::size_t i = 0; i < kVariants; ++i) {
    Variant& variant = variants_[i];
    if (!write_response(variant.bytes, status, kContexts[i], options, body)) {
      throw std::invalid_argument("static response: a field name or value cannot be sent");
    }
    variant.head_bytes = variant.bytes.size() - body.size();
  }
}

std::span<const std::byte> StaticResponse::bytes(const ResponseContext& context) const noexcept {
  const std::size_t index =
      !context.keep_alive ? kClose : (context.version == 10 ? kKeepAlive10 : kKeepAlive11);
  const Variant& variant = variants_[index];
  const std::span<const std::byte> all{variant.bytes};
  return context.is_head ? all.first(variant.head_bytes) : all;
}

DateText format_date(std::int64_t unix_s) noexcept {
  constexpr std::int64_t kEndOfYear9999 = 253'402'300'799;
  RT_ASSERT(unix_s >= 0);
  RT_ASSERT(unix_s <= kEndOfYear9999);
  constexpr std::string_view kDays = "ThuFriSatSunMonTueWed";  // the epoch was a Thursday
  constexpr std::string_view kMonths = "JanFebMarAprMayJunJulAugSepOctNovDec";
  const std::int64_t day = unix_s / 86'400;
  const std::int64_t second = unix_s % 86'400;
  // Days to a date, with years that begin in March so that the leap day comes last.
  const std::int64_t shifted = day + 719'468;
  const std::int64_t era = shifted / 146'097;
  const std::int64_t day_of_era = shifted % 146'097;
  const std::int64_t year_of_era =
      (day_of_era - day_of_era / 1'460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const std::int64_t day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const std::int64_t march_month = (5 * day_of_year + 2) / 153;
  const std::int64_t day_of_month = day_of_year - (153 * march_month + 2) / 5 + 1;
  const std::int64_t month = march_month < 10 ? march_month + 2 : march_month - 10;
  const std::int64_t year = era * 400 + year_of_era + (month < 2 ? 1 : 0);

  DateText text;
  char* to = text.data();
  const auto put_text = [&to](std::string_view part) {
    to = std::copy(part.begin(), part.end(), to);
  };
  const auto put_digits = [&to](std::int64_t number, int digits) {
    for (int i = digits - 1; i >= 0; --i, number /= 10) {
      to[i] = static_cast<char>('0' + number % 10);
    }
    to += digits;
  };
  put_text(kDays.substr(static_cast<std::size_t>(day % 7) * 3, 3));
  put_text(", ");
  put_digits(day_of_month, 2);
  put_text(" ");
  put_text(kMonths.substr(static_cast<std::size_t>(month) * 3, 3));
  put_text(" ");
  put_digits(year, 4);
  put_text(" ");
  put_digits(second / 3'600, 2);
  put_text(":");
  put_digits(second / 60 % 60, 2);
  put_text(":");
  put_digits(second % 60, 2);
  put_text(" GMT");
  RT_ASSERT(to == text.data() + text.size());
  return text;
}

runtime::Result<void> write_request_head(Bytes& out, const RequestOptions& options,
                                         std::uint64_t body_bytes) {
  const bool has_reserved =
      std::any_of(options.fields.begin(), options.fields.end(), [](const Field& field) {
        return field_name_equal(field.name, "content-length") ||
               field_name_equal(field.name, "transfer-encoding") ||
               field_name_equal(field.name, "host");
      });
  const bool writable = std::all_of(
      options.fields.begin(), options.fields.end(),
      [](const Field& field) { return is_token(field.name) && is_field_value(field.value); });
  const bool has_target = split_target(options.method, options.target).has_value() &&
                          options.target.find_first_of(" \t\r\n#") == std::string_view::npos &&
                          is_field_value(options.target);
  if (has_reserved || !writable || !has_target || !is_token(options.method) ||
      !is_host(options.host)) {
    return runtime::fail(runtime::ErrorCode::invalid_argument);
  }
  append(out, options.method);
  append(out, " ");
  append(out, options.target);
  append(out, " HTTP/1.1\r\n");
  append_field(out, "Host", options.host);
  for (const Field& field : options.fields) append_field(out, field.name, field.value);
  if (options.expect_continue) append_field(out, "Expect", "100-continue");
  if (options.chunked) {
    append(out, "Transfer-Encoding: chunked\r\n");
  } else if (body_bytes > 0 || options.method == "POST" || options.method == "PUT") {
    append(out, "Content-Length: ");
    append_number(out, body_bytes);
    append(out, "\r\n");
  }
  append(out, "\r\n");
  return {};
}

void append_chunk_line(Bytes& out, std::uint64_t bytes) {
  append_number(out, bytes, 16);
  append(out, "\r\n");
}

runtime::Result<void> write_request(Bytes& out, const RequestOptions& options,
                                    std::span<const std::byte> body) {
  const auto head = write_request_head(out, options, body.size());
  if (!head) return head;
  const bool in_chunk = options.chunked && !body.empty();
  if (in_chunk) append_chunk_line(out, body.size());
  out.insert(out.end(), body.begin(), body.end());
  if (in_chunk) append(out, "\r\n");
  if (options.chunked) append(out, kLastChunk);
  return {};
}

}  // namespace corelane::net::http
