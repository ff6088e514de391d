#pragma once
// Writes to a descriptor that other processes share (stdout, stderr) without waiting for a slow
// reader. O_NONBLOCK would be set for every process that has the pipe or the terminal, for example
// a shell, so it is not changed. Each kind of file has another way to avoid the wait.
//
//   socket    send(2) with MSG_DONTWAIT
//   pipe      pwritev2(2) with RWF_NOWAIT (Linux 6.4); before that, poll(2) and at most PIPE_BUF
//             bytes, which only another writer of the same pipe can get ahead of
//   terminal  an open file description of our own (own_terminal), with O_NONBLOCK
//   file      write(2): a disk is waited for

#include <cstdint>
#include <string_view>

namespace corelane::runtime {

// Writes what can be written now. Bytes written, or a negative errno: -EAGAIN if nothing can.
// Safe in any context, but where `descriptor` is a pipe without a reader and SIGPIPE has its
// default action.
long write_available(int descriptor, std::string_view text) noexcept;

// The same, and waits for room until `milliseconds` have passed in all.
void write_within(int descriptor, std::string_view text, int milliseconds) noexcept;

// If `descriptor` is a terminal: a descriptor for it with an open file description of its own,
// which does not block. Otherwise, or if it cannot be opened, -1.
int own_terminal(int descriptor) noexcept;

// Where a standard stream was closed (`>&-`), the next descriptor would get its number, and what is
// printed would go to a ring or to a client. Opens /dev/null in their place.
void hold_standard_descriptors() noexcept;

}  // namespace corelane::runtime
