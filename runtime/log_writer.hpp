#pragma once
// Log: what runtime/log.hpp does, for a pair of descriptors; the process has one for stdout and
// stderr, tests make their own. Never destroyed once its thread runs.

#include <pthread.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <string_view>

#include "runtime/line_queue.hpp"
#include "runtime/log.hpp"
#include "runtime/log_event.hpp"

namespace corelane::runtime {

class Log {
 public:
  using Clock = std::int64_t (*)() noexcept;  // monotonic nanoseconds

  // The memory of both queues, apart so that it costs a program file nothing.
  struct Memory {
    std::array<char, LineQueue::kBytes> out;
    std::array<char, LineQueue::kBytes> err;
  };

  constexpr Log(int out, int err, Memory& memory, Clock clock) noexcept
      : out_{out, LineQueue(memory.out.data())},
        err_{err, LineQueue(memory.err.data())},
        clock_(clock) {}
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  // Before start().
  void set_sink(LogSink sink, void* context) noexcept {
    if (started_.load(std::memory_order_relaxed)) return;
    sink_ = sink;
    sink_context_ = context;
  }
  bool start() noexcept;
  void set_level(LogLevel level) noexcept { level_.store(level, std::memory_order_relaxed); }
  bool enabled(LogLevel level) const noexcept {
    return level <= level_.load(std::memory_order_relaxed);
  }
  void set_format(LogFormat format) noexcept { format_.store(format, std::memory_order_relaxed); }
  LogFormat format() const noexcept { return format_.load(std::memory_order_relaxed); }
  void write(LogLevel level, std::string_view text, std::span<const LogField> fields = {}) noexcept;
  void write_block(std::string_view lines) noexcept;
  void print(std::string_view text) noexcept;
  bool admits(LogReason& reason, LogLevel level) noexcept;
  void flush(int milliseconds) noexcept;
  void last_words(std::string_view text) noexcept;

 private:
  struct Stream {
    int descriptor;
    LineQueue queue;
    std::atomic<bool> failing{false};  // the last write failed: no notice before one succeeds
    bool no_room = false;              // the last write found none although poll(2) had said so
  };

  static void* run_thread(void* self) noexcept;
  void run() noexcept;
  void wait_for_work() noexcept;
  void push_log(std::string_view lines) noexcept;
  void wake() noexcept;
  void write_without_thread() noexcept;
  void take_terminals() noexcept;
  bool write_out(Stream& stream) noexcept;
  // On the thread: what the sink takes is not polled.
  bool goes_to_sink(const Stream& stream) const noexcept {
    return sink_ != nullptr && &stream == &err_ && started_.load(std::memory_order_relaxed);
  }
  void tell_lost() noexcept;
  void tell_left_out(bool all) noexcept;
  void tell_left_out(LogReason& reason) noexcept;
  bool idle() const noexcept { return out_.queue.empty() && err_.queue.empty(); }

  Stream out_;
  Stream err_;
  const Clock clock_;
  LogSink sink_ = nullptr;
  void* sink_context_ = nullptr;
  std::atomic<LogLevel> level_{LogLevel::info};
  std::atomic<LogFormat> format_{LogFormat::text};
  std::atomic<std::uint64_t> lost_{0};  // lines, of both streams
  std::atomic<LogReason*> reasons_{nullptr};
  std::atomic<bool> some_left_out_{false};
  std::atomic<bool> started_{false};
  std::atomic<bool> writing_{false};  // without a thread: somebody does its work
  bool terminals_taken_ = false;
  int event_ = -1;
  pthread_t thread_{};
};

}  // namespace corelane::runtime
