#pragma once
// The log of the process: lines for people on stderr, and on stdout what a supervisor waits for.
// Every function may be called from any core and any other thread, also before the first core
// exists and after the last has ended. None waits for a reader of the streams, none allocates: a
// line is copied into a bounded queue and written by a thread of its own. Lines that find the queue
// full, or that the stream does not take (a full disk, a reader that is gone), are lost and
// counted, and the count is logged as soon as something can be written again.
//
//   log(LogLevel::info, "stopping");                      // corelane: info: stopping
//
// What a peer can cause, and what can come a thousand times a second, is limited by its reason:
//
//   constinit LogReason kRefusedOrigin("refused origin");  // static, one for each kind of line
//   log_limited(kRefusedOrigin, LogLevel::info,
//               [&] { return fmt::format("refused origin {} of {}", origin, peer); });
//
// At most LogReason::kLinesPerSecond lines of a reason are written in a second. For further lines
// the function is not called, and one line gives their number ("refused origin: 37 more").
//
// Without a writing thread (start_log() was not called, or cannot create one) the caller of log()
// writes its line itself, as far as the stream takes it at once
// (runtime/standard_stream.hpp).

#include <atomic>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <utility>

namespace corelane::runtime {

enum class LogLevel : std::uint8_t { error, warning, info, debug };

// Lines above the level are not written. Default: info.
void set_log_level(LogLevel level) noexcept;
bool log_enabled(LogLevel level) noexcept;

// One line, "PROGRAM: LEVEL: text". Control characters, newlines among them, are written as \x0a: a
// text may hold what a peer sent. Longer lines than 4 KiB are cut.
void log(LogLevel level, std::string_view text) noexcept;

// Several lines as they are, each with its newline, whatever the level: a stall report.
void log_block(std::string_view lines) noexcept;

// One line on stdout, without prefix or newline.
void print_line(std::string_view text) noexcept;

// A kind of lines that shares one limit. Lives as long as the process.
class LogReason {
 public:
  static constexpr std::uint32_t kLinesPerSecond = 10;

  constexpr explicit LogReason(const char* name) noexcept : name_(name) {}
  LogReason(const LogReason&) = delete;
  LogReason& operator=(const LogReason&) = delete;

 private:
  friend class Log;
  const char* const name_;
  // The second, in the upper half, and the lines admitted in it.
  std::atomic<std::uint64_t> admitted_{0};
  std::atomic<std::uint64_t> left_out_{0};
  std::atomic<std::uint8_t> level_{0};  // of the last line left out
  // Reasons of which lines were left out are a list that only grows.
  std::atomic<bool> listed_{false};
  LogReason* next_ = nullptr;
};

// Whether a line of this reason may be written now; counts it if not. For log_limited().
bool log_admits(LogReason& reason, LogLevel level) noexcept;

// `text` is a string, or a function that returns one and is called only for lines that are written.
template <class Text>
void log_limited(LogReason& reason, LogLevel level, Text&& text) {
  if (!log_enabled(level) || !log_admits(reason, level)) return;
  if constexpr (std::is_invocable_v<Text>) {
    log(level, std::forward<Text>(text)());
  } else {
    log(level, text);
  }
}

// Takes the lines of the log in place of stderr: whole lines, each with its newline. Called on the
// writing thread, one call at a time, so it may block: cores do not wait for it, and lines that
// find the queue full then are lost and counted. It must not log. A process that aborts, and one
// whose start_log() failed, writes to stderr as ever. Call it before start_log(); null takes it
// back.
using LogSink = void (*)(void* context, std::string_view lines) noexcept;
void set_log_sink(LogSink sink, void* context) noexcept;

// Starts the writing thread. False: no thread can be created; callers of log() write their lines
// themselves. Call it from a thread that is not pinned yet. Opens /dev/null in the place of closed
// standard streams.
bool start_log() noexcept;

// Waits until all lines are written, also the lines that count suppressed ones, but at most
// this long. Call it before the process ends.
inline constexpr int kLogFlushMs = 500;
void flush_log(int milliseconds = kLogFlushMs) noexcept;

// For a process that is about to abort, from any context, a signal handler among them: what was
// logged, then `text` on stderr, and at most half a second for each. `text` ends with a newline.
void log_last_words(std::string_view text) noexcept;

}  // namespace corelane::runtime
