#include "runtime/log.hpp"

#include <time.h>
#include <unistd.h>

#include "runtime/log_writer.hpp"

namespace corelane::runtime {
namespace {

std::int64_t monotonic_ns() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

constinit Log::Memory process_memory{};
constinit Log process_log(STDOUT_FILENO, STDERR_FILENO, process_memory, monotonic_ns);

}  // namespace

void set_log_level(LogLevel level) noexcept {
  process_log.set_level(level);
}

bool log_enabled(LogLevel level) noexcept {
  return process_log.enabled(level);
}

void log(LogLevel level, std::string_view text) noexcept {
  process_log.write(level, text);
}

void set_log_format(LogFormat format) noexcept {
  process_log.set_format(format);
}

void log_event(LogLevel level, std::string_view event, std::span<const LogField> fields) noexcept {
  process_log.write(level, event, fields);
}

void log_block(std::string_view lines) noexcept {
  process_log.write_block(lines);
}

void print_line(std::string_view text) noexcept {
  process_log.print(text);
}

bool log_admits(LogReason& reason, LogLevel level) noexcept {
  return process_log.admits(reason, level);
}

void set_log_sink(LogSink sink, void* context) noexcept {
  process_log.set_sink(sink, context);
}

bool start_log() noexcept {
  return process_log.start();
}

void flush_log(int milliseconds) noexcept {
  process_log.flush(milliseconds);
}

void log_last_words(std::string_view text) noexcept {
  process_log.last_words(text);
}

}  // namespace corelane::runtime
