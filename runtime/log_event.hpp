#pragma once
// Lines of the log for programs: an event with named fields, and the form of all lines.
//
//   set_log_format(LogFormat::json);
//   log_event(LogLevel::info, "connection closed",
//             std::array{LogField{"address", peer}, LogField::number("bytes", bytes)});
//
//   text    corelane: info: connection closed address=127.0.0.1:5 bytes=12
//   logfmt  time=2026-01-02T03:04:05.678901Z level=info program=corelane msg="connection closed"
//           address=127.0.0.1:5 bytes=12
//   json    {"time":"2026-01-02T03:04:05.678901Z","level":"info","program":"corelane",
//           "msg":"connection closed","address":"127.0.0.1:5","bytes":12}
//
// One line each, valid UTF-8 in the last two: other bytes become U+FFFD. A line that would be
// longer than 4 KiB loses the end of its message, or its last fields, and has a field "cut". As
// runtime/log.hpp: no function waits or allocates, from any thread.

#include <array>
#include <charconv>
#include <cstdint>
#include <span>
#include <string_view>

#include "runtime/log.hpp"

namespace corelane::runtime {

enum class LogFormat : std::uint8_t { text, logfmt, json };

// Of all lines that are logged from now on. Default: text.
void set_log_format(LogFormat format) noexcept;

struct LogField {
  LogField(std::string_view of, std::string_view text) noexcept : name(of), value_(text) {}
  static LogField number(std::string_view of, std::uint64_t value) noexcept {
    LogField field(of, {});
    const auto end =
        std::to_chars(field.digits_.data(), field.digits_.data() + field.digits_.size(), value);
    field.digit_count_ = static_cast<std::uint8_t>(end.ptr - field.digits_.data());
    return field;
  }
  bool is_number() const noexcept { return digit_count_ != 0; }
  // Valid as long as the field and what a text was made of.
  std::string_view value() const noexcept {
    return is_number() ? std::string_view{digits_.data(), digit_count_} : value_;
  }

  std::string_view name;  // of letters, digits and _

 private:
  std::string_view value_;
  std::array<char, 20> digits_{};
  std::uint8_t digit_count_ = 0;
};

void log_event(LogLevel level, std::string_view event, std::span<const LogField> fields) noexcept;

}  // namespace corelane::runtime
