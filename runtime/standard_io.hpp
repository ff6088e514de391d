#pragma once
// Reading and writing descriptors that came from another process, standard streams above all: pipes
// that nobody serves, terminals that are stopped, files. Waiting for them does not hold the core.
//
//   const StandardDescriptor input(STDIN_FILENO);
//   RT_TRY(const std::uint32_t bytes, co_await read_some(input, buffer));   // 0: the end
//
// The descriptors are shared with other processes, so their mode (O_NONBLOCK) is neither changed
// nor relied on.
//
// A ring operation waits for pipes and sockets outside of the core. The driver of a terminal does
// not: where another process reads, or where ^S has stopped it, the core would wait inside of the
// operation (Linux 6.18). So a terminal is opened once more, and that description does not block.

#include <cstddef>
#include <cstdint>
#include <span>

#include "runtime/result.hpp"
#include "runtime/task.hpp"

namespace corelane::runtime {

// A descriptor of another process for as long as this lives. It is not closed.
class StandardDescriptor {
 public:
  explicit StandardDescriptor(int number) noexcept;
  ~StandardDescriptor();
  StandardDescriptor(const StandardDescriptor&) = delete;
  StandardDescriptor& operator=(const StandardDescriptor&) = delete;

  // The descriptor to read from and to write to.
  int number() const noexcept { return own_terminal_ >= 0 ? own_terminal_ : number_; }

 private:
  int number_;
  int own_terminal_;  // -1: none, or it cannot be opened (another user's, after su)
};

// At least one byte, or 0 at the end. What was read is not lost if the wait is cancelled. Errors:
// cancelled, the errno of read(2).
Task<Result<std::uint32_t>> read_some(const StandardDescriptor& descriptor,
                                      std::span<std::byte> into);

// At least one byte. Errors: cancelled (nothing was written), the errno of write(2). With EPIPE
// comes SIGPIPE, which has to be ignored.
Task<Result<std::uint32_t>> write_some(const StandardDescriptor& descriptor,
                                       std::span<const std::byte> bytes);
// All of it. Cancelled: a part of it may have been written.
Task<Result<void>> write_all(const StandardDescriptor& descriptor,
                             std::span<const std::byte> bytes);

// Waits until nobody reads any more what is written to this pipe, socket or terminal. False:
// cancelled, or it is none of these.
Task<bool> until_reader_gone(const StandardDescriptor& descriptor);

}  // namespace corelane::runtime
