#pragma once
// LogLine: one line of the log while it is made, in any of the formats. No allocation; what does
// not fit is cut, and the end of the line always fits.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "runtime/line_queue.hpp"
#include "runtime/log_event.hpp"

namespace corelane::runtime {

class LogLine {
 public:
  // Without a level and the like: for stdout.
  struct Bare {};
  explicit LogLine(Bare) noexcept : format_(LogFormat::text) {}
  // `wall_ns`: nanoseconds since the epoch; the text format has no time.
  LogLine(LogFormat format, LogLevel level, std::int64_t wall_ns) noexcept;
  // The message: any bytes. In several calls, before the fields.
  void add_message(std::string_view text) noexcept;
  void add_field(const LogField& field) noexcept;
  // With its newline. Once.
  std::string_view finished() noexcept;

 private:
  static constexpr std::string_view kCut = " [cut]";
  // What ends a line: a quote, a field that says that it is cut, a brace, the newline.
  static constexpr std::size_t kEndBytes = 14;

  std::size_t room() const noexcept {
    // The quote that ends a message is taken from what is kept for the end.
    const std::size_t quote = in_message_ ? 0 : 1;
    const std::size_t end = format_ == LogFormat::text ? kCut.size() + 1 : kEndBytes - quote;
    return bytes_.size() - end - size_;
  }
  bool add(std::string_view text) noexcept;          // whole or not at all
  bool add_quoted(std::string_view text) noexcept;   // the inside of a string; as far as it fits
  bool add_escaped(std::string_view text) noexcept;  // the text format
  void end_message() noexcept;

  std::array<char, LineQueue::kLineBytesMax> bytes_;
  std::size_t size_ = 0;
  const LogFormat format_;
  bool in_message_ = true;
  bool cut_ = false;
};

}  // namespace corelane::runtime
