#pragma once
// Reads the raw head of a message as it arrives, refuses everything that two parsers could read
// differently, each with its status, and finds the parts of what it takes.
//
// A HeadCheck belongs to one parser. It keeps offsets, no bytes: the caller shows it all bytes of
// the head so far, and each byte is looked at once however the head was cut. The verdict depends on
// the bytes alone, not on the cuts. Pure code: no I/O, never suspends; allocates only when the
// fields have to grow.
//
//   skim: whole well-formed lines, a few dozen characters at a time, while there are any
//   else: one line the careful way, which knows what is wrong with it or that it is cut

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "net/http/limits.hpp"
#include "net/http/message.hpp"
#include "net/http/status.hpp"

namespace corelane::net::http {

// A part of a head.
struct HeadPart {
  std::size_t offset = 0;
  std::size_t bytes = 0;

  // `head`: from the first byte of the message on.
  std::string_view in(std::string_view head) const noexcept { return head.substr(offset, bytes); }
};

// What the check learned from a head, for the parser that asked.
struct HeadFacts {
  int version = 11;     // 10 or 11
  int status_code = 0;  // of a response
  HeadPart reason;      // of a response
  HeadPart method;
  HeadPart target;
  HeadPart path;
  HeadPart query;
  HeadPart host;  // the value of Host, or of an absolute target's authority
  bool has_content_length = false;
  bool chunked = false;
  bool expect_continue = false;  // 100-continue on HTTP/1.1; HTTP/1.0 cannot ask for it
  bool connection_close = false;
  bool connection_keep_alive = false;
  // Connection or Proxy-Connection is no list of tokens, or Content-Length does not fit. Malformed,
  // but what is too large is said first.
  bool has_bad_value = false;
  // Requests that are well framed and cannot be served: read whole, then answered by 413 and 417.
  bool has_large_body = false;  // at most Limits::discarded_bytes_max above the limit
  bool expects_unknown = false;
  std::uint64_t content_length = 0;  // saturated: what does not fit is far above every limit
  std::size_t end = 0;               // offset of the first byte after the head

  bool keep_alive() const noexcept {
    return !connection_close && (version == 11 || connection_keep_alive);
  }
};

class HeadCheck {
 public:
  enum class Kind : std::uint8_t { request, response };
  enum class Verdict : std::uint8_t { need_more, complete, failed };

  HeadCheck(Kind kind, const Limits& limits) noexcept : limits_(limits), kind_(kind) {}

  // `bytes` is everything from the first byte of the message on: what it was on the last call and
  // more after it. It may lie somewhere else than before, and may go on behind the head. Each field
  // is appended to `fields` as views into the bytes of this call.
  Verdict scan(std::string_view bytes, std::vector<Field>& fields);
  void reset() noexcept { *this = HeadCheck{kind_, limits_}; }

  // After Verdict::complete: judges the length of the body by other limits than those of the
  // construction, which must not be smaller.
  Verdict limit_body(std::uint64_t bytes_max, std::uint64_t discarded_bytes_max) noexcept;

  const HeadFacts& facts() const noexcept { return facts_; }  // after Verdict::complete
  Status status() const noexcept { return status_; }          // after Verdict::failed
  // After Verdict::failed: the broken rule, or the limit (by its name in the configuration), in
  // words.
  const char* why() const noexcept { return why_; }

 private:
  Verdict fail(Status status, const char* why) noexcept;
  Verdict skim(std::string_view bytes, std::vector<Field>& fields);
  bool skim_request_line(std::string_view bytes) noexcept;
  Verdict check_pending(std::string_view bytes) noexcept;
  std::string_view within_limit(std::string_view line) const noexcept;
  Verdict check_start_line(std::string_view bytes, std::size_t line_feed) noexcept;
  Verdict check_request_line(std::string_view line) noexcept;
  Verdict check_status_line(std::string_view line) noexcept;
  Verdict check_version(std::string_view text) noexcept;
  bool note_target(std::string_view method, std::string_view target) noexcept;
  Verdict check_field_line(std::string_view bytes, std::size_t line_feed,
                           std::vector<Field>& fields);
  Verdict note_field(std::string_view bytes, const Field& field) noexcept;
  void note_connection(std::string_view value) noexcept;
  Verdict note_content_length(std::string_view value) noexcept;
  Verdict finish(std::string_view bytes, std::size_t end) noexcept;

  Limits limits_;
  HeadFacts facts_;
  std::size_t scanned_ = 0;     // no line feed before this offset is unhandled
  std::size_t line_start_ = 0;  // of the line that has not ended yet
  std::size_t fields_start_ = 0;
  std::size_t field_count_ = 0;
  HeadPart authority_;  // of an absolute target
  const char* why_ = "";
  Status status_{};
  Kind kind_;
  bool in_fields_ = false;
  bool skipped_empty_line_ = false;
  bool has_host_ = false;
  bool has_transfer_encoding_ = false;
  bool expects_continue_ = false;
  bool failed_ = false;
};

}  // namespace corelane::net::http
