#pragma once
// Pipes between coroutines and other processes: read and written by ring operations, cancelled with
// the scope, closed in the background when they are destroyed open (runtime/file.hpp). Each end
// belongs to one core; one read and one write at a time.
//
// An end of ours does not block (O_NONBLOCK), which is the end's alone: the process that has the
// other one sees a pipe that blocks. Standard streams, whose mode is shared, and pipes that came
// from elsewhere: runtime/standard_io.hpp.
//
// Writing to a pipe that nobody reads gives EPIPE. The first pipe that is made ignores SIGPIPE in
// this process, unless the program has set an action for it: by default it would end the process.
// In a simulation there are no pipes: `unsupported`.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "runtime/file.hpp"
#include "runtime/result.hpp"
#include "runtime/task.hpp"

namespace corelane::runtime {

class PipeReader {
 public:
  PipeReader() = default;
  // Takes over a descriptor that does not block.
  explicit PipeReader(File end) noexcept : end_(std::move(end)) {}

  // At least one byte, or 0: nobody writes any more. A cancelled call has taken nothing.
  Task<Result<std::uint32_t>> read_some(std::span<std::byte> into);
  // Everything until nobody writes any more; `limit_exceeded` if it is longer than `bytes_max`.
  Task<Result<std::string>> read_all(std::size_t bytes_max);
  Task<Result<void>> close() { return end_.close(); }
  bool is_open() const noexcept { return end_.is_open(); }
  Descriptor descriptor() const noexcept { return end_.descriptor(); }
  // The descriptor is the caller's; the reader is closed.
  File release() && noexcept { return std::move(end_); }

 private:
  File end_;
};

class PipeWriter {
 public:
  PipeWriter() = default;
  explicit PipeWriter(File end) noexcept : end_(std::move(end)) {}

  // At least one byte; waits while the pipe is full. A cancelled call has written nothing.
  Task<Result<std::uint32_t>> write_some(std::span<const std::byte> bytes);
  // All of it; a cancelled call has written a part of it.
  Task<Result<void>> write_all(std::span<const std::byte> bytes);
  // The reader then sees the end.
  Task<Result<void>> close() { return end_.close(); }
  bool is_open() const noexcept { return end_.is_open(); }
  Descriptor descriptor() const noexcept { return end_.descriptor(); }

 private:
  File end_;
};

struct Pipe {
  PipeReader reader;
  PipeWriter writer;
};

// Both ends here. Does not suspend. Errors: EMFILE, ENFILE (pipe2(2)), unsupported.
Result<Pipe> make_pipe();

}  // namespace corelane::runtime
