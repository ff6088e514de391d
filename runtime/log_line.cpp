#include "runtime/log_line.hpp"

#include <errno.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace corelane::runtime {
namespace {

constexpr std::string_view kLevels[] = {"error", "warning", "info", "debug"};
constexpr char kDigits[] = "0123456789abcdef";
constexpr std::int64_t kSecondNs = 1'000'000'000;
constexpr std::int64_t kDayS = 86'400;
constexpr std::size_t kProgramBytesMax = 64;  // so that the notice of lost lines is short

// The date of a day since the epoch (proleptic Gregorian), without the locks of gmtime(3).
struct Date {
  std::int64_t year;
  unsigned month;
  unsigned day;
};
Date date_of(std::int64_t days) noexcept {
  // Years that begin in March, so that the leap day is the last; eras of 400 of them.
  const std::int64_t shifted = days + 719'468;
  const std::int64_t era = shifted / 146'097;
  const std::int64_t of_era = shifted - era * 146'097;
  const std::int64_t year = (of_era - of_era / 1460 + of_era / 36'524 - of_era / 146'096) / 365;
  const std::int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
  const std::int64_t month = (5 * of_year + 2) / 153;
  return {.year = year + era * 400 + (month >= 10 ? 1 : 0),
          .month = static_cast<unsigned>(month < 10 ? month + 3 : month - 9),
          .day = static_cast<unsigned>(of_year - (153 * month + 2) / 5 + 1)};
}

using TimeText = std::array<char, 40>;
std::string_view time_text(std::int64_t wall_ns, TimeText& text) noexcept {
  const std::int64_t seconds = std::max<std::int64_t>(wall_ns, 0) / kSecondNs;
  const Date date = date_of(seconds / kDayS);
  const auto of_day = static_cast<unsigned>(seconds % kDayS);
  const auto micros = static_cast<unsigned>(std::max<std::int64_t>(wall_ns, 0) % kSecondNs / 1000);
  const int bytes = std::snprintf(text.data(), text.size(), "%04lld-%02u-%02uT%02u:%02u:%02u.%06uZ",
                                  static_cast<long long>(date.year), date.month, date.day,
                                  of_day / 3600, of_day / 60 % 60, of_day % 60, micros);
  return {text.data(), static_cast<std::size_t>(bytes)};
}

// The bytes of the character of UTF-8 at the beginning; 0: it is none.
std::size_t character_bytes(std::string_view text) noexcept {
  const auto at = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = at(0);
  if (first < 0x80) return 1;
  const std::size_t bytes = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < bytes) return 0;
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((at(i) & 0xc0) != 0x80) return 0;
  }
  // Overlong forms, surrogates, beyond U+10FFFF.
  const unsigned char second = at(1);
  const bool is_bad = (first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
                      (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f);
  return is_bad ? 0 : bytes;
}

bool is_plain(std::string_view value) noexcept {
  return !value.empty() && std::ranges::all_of(value, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte > 0x20 && byte < 0x7f && c != '"' && c != '=' && c != '\\';
  });
}

}  // namespace

LogLine::LogLine(LogFormat format, LogLevel level, std::int64_t wall_ns) noexcept
    : format_(format) {
  const std::string_view name = kLevels[static_cast<std::size_t>(level)];
  const std::string_view program =
      std::string_view{program_invocation_short_name}.substr(0, kProgramBytesMax);
  TimeText time;
  switch (format) {
    case LogFormat::text:
      add(program);
      add(": ");
      add(name);
      add(": ");
      return;
    case LogFormat::logfmt:
      add("time=");
      add(time_text(wall_ns, time));
      add(" level=");
      add(name);
      add(" program=\"");
      add_quoted(program);
      add("\" msg=\"");
      return;
    case LogFormat::json:
      add("{\"time\":\"");
      add(time_text(wall_ns, time));
      add("\",\"level\":\"");
      add(name);
      add("\",\"program\":\"");
      add_quoted(program);
      add("\",\"msg\":\"");
      return;
  }
}

bool LogLine::add(std::string_view text) noexcept {
  if (text.size() > room()) return false;
  std::memcpy(bytes_.data() + size_, text.data(), text.size());
  size_ += text.size();
  return true;
}

bool LogLine::add_escaped(std::string_view text) noexcept {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) {
      if (!add({&c, 1})) return false;
    } else {
      const std::array<char, 4> escaped{'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
      if (!add({escaped.data(), escaped.size()})) return false;
    }
  }
  return true;
}

// As in a string of JSON, which readers of logfmt take, too.
bool LogLine::add_quoted(std::string_view text) noexcept {
  while (!text.empty()) {
    const std::size_t bytes = character_bytes(text);
    const auto byte = static_cast<unsigned char>(text.front());
    bool fits = false;
    if (bytes == 0) {
      fits = add("\xef\xbf\xbd");
    } else if (byte == '"' || byte == '\\') {
      const std::array<char, 2> escaped{'\\', text.front()};
      fits = add({escaped.data(), escaped.size()});
    } else if (byte == '\n') {
      fits = add("\\n");
    } else if (byte < 0x20 || byte == 0x7f) {
      const std::array<char, 6> escaped{
          '\\', 'u', '0', '0', kDigits[byte >> 4], kDigits[byte & 15]};
      fits = add({escaped.data(), escaped.size()});
    } else {
      fits = add(text.substr(0, bytes));
    }
    if (!fits) return false;
    text.remove_prefix(std::max<std::size_t>(bytes, 1));
  }
  return true;
}

void LogLine::add_message(std::string_view text) noexcept {
  if (cut_) return;
  cut_ = format_ == LogFormat::text ? !add_escaped(text) : !add_quoted(text);
}

void LogLine::end_message() noexcept {
  if (!in_message_) return;
  in_message_ = false;
  // There is room for what ends a line.
  if (format_ != LogFormat::text) bytes_[size_++] = '"';
}

void LogLine::add_field(const LogField& field) noexcept {
  if (cut_) return;
  end_message();
  const std::size_t before = size_;
  const std::string_view value = field.value();
  bool fits = false;
  if (format_ == LogFormat::json) {
    fits = add(",\"") && add(field.name) && add(field.is_number() ? "\":" : "\":\"") &&
           add_quoted(value) && (field.is_number() || add("\""));
  } else if (is_plain(value)) {
    fits = add(" ") && add(field.name) && add("=") && add(value);
  } else {
    fits = add(" ") && add(field.name) && add("=\"") && add_quoted(value) && add("\"");
  }
  if (fits) return;
  size_ = before;
  cut_ = true;
}

std::string_view LogLine::finished() noexcept {
  end_message();
  const auto end_with = [this](std::string_view text) {
    std::memcpy(bytes_.data() + size_, text.data(), text.size());
    size_ += text.size();
  };
  if (cut_) {
    end_with(format_ == LogFormat::text     ? kCut
             : format_ == LogFormat::logfmt ? " cut=true"
                                            : ",\"cut\":true");
  }
  if (format_ == LogFormat::json) end_with("}");
  end_with("\n");
  return {bytes_.data(), size_};
}

}  // namespace corelane::runtime
