#pragma once
// Output: stdout or stderr of a client command, as lines that wait in memory until they are taken.
// A reader that pauses (`| less`, a stopped terminal, a program that is busy) never holds the core,
// so that the connection lives on. Belongs to one core; run() is spawned in a group, which is
// cancelled and joined before this is destroyed.
//
// Lines that fit go out in pieces of whole lines of at most PIPE_BUF, so that several commands can
// share a pipe or a file without cutting each other's lines.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "runtime/result.hpp"
#include "runtime/standard_io.hpp"
#include "runtime/task.hpp"
#include "runtime/wait_queue.hpp"

namespace corelane::tools {

class Output {
 public:
  enum class WhenFull : std::uint8_t {
    grow,  // a caller that writes much waits for room(): nothing is lost
    drop,  // what does not fit is lost and counted, and the count is told once there is room
  };

  Output(int descriptor, std::size_t bytes_max, WhenFull when_full) noexcept
      : descriptor_(descriptor), bytes_max_(bytes_max), when_full_(when_full) {}
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  // Adds a line, with a newline if it has none. Never waits.
  void line(std::string_view text);

  // Waits while more than bytes_max wait, until it is less than half. False: nothing will be taken
  // any more, or cancelled.
  runtime::Task<bool> room();
  // Waits until everything was taken; false as for room().
  runtime::Task<bool> flushed();
  // Waits until the descriptor fails, and says how; `cancelled` is no failure.
  runtime::Task<runtime::Error> until_failed();

  bool failed() const noexcept { return failure_.has_value(); }
  const std::optional<runtime::Error>& failure() const noexcept { return failure_; }
  std::size_t waiting_bytes() const noexcept { return bytes_; }
  // Waiting lines, including one that is partly written.
  std::size_t waiting_lines() const noexcept;

  // Writes until it is cancelled or the descriptor fails.
  static runtime::Task<void> run(Output* self) { return self->write_all(); }
  // Counts it as a failure if the reader goes away, also while there is nothing to write.
  static runtime::Task<void> watch(Output* self) { return self->watch_reader(); }

  // A block of lines is freed when all of it was taken.
  static constexpr std::size_t kBlockBytes = 64 * 1024;

 private:
  runtime::Task<void> write_all();
  runtime::Task<void> watch_reader();
  std::span<const std::byte> next_piece() const noexcept;
  void took(std::size_t bytes);
  void append(std::string_view text);
  void fail(runtime::Error error);

  runtime::StandardDescriptor descriptor_;
  std::size_t bytes_max_;
  WhenFull when_full_;
  // Each has room for kBlockBytes, or is one longer line, and does not move: the kernel reads it.
  std::deque<std::string> blocks_;
  std::size_t at_ = 0;  // in the first of them
  std::size_t bytes_ = 0;
  std::uint64_t lost_lines_ = 0;
  std::optional<runtime::Error> failure_;
  runtime::WaitQueue more_;
  runtime::WaitQueue room_;
  runtime::WaitQueue flushed_;
  runtime::WaitQueue failed_;
};

}  // namespace corelane::tools
