#pragma once
// What the raw yardsticks share: arguments, a listening socket on 127.0.0.1, stopping by SIGTERM or
// SIGINT, and the CPU time printed at the end. One server a process, so the state is the process's
// own. Errors end the process with a message; wrong usage ends it with status 2.

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

struct raw_options {
  char const* program;  // for messages
  int port;             // 0 picks a free one
  int cpu;              // -1: not pinned
  size_t buffer_bytes;
  size_t buffers;  // of a ring of provided buffers; unused without one
  int threads;     // 0: the program knows but one
};

// Set once SIGTERM or SIGINT has come.
extern volatile sig_atomic_t raw_stopped;

// Reads --port, --cpu, --buffer, --buffers and --threads over the defaults in `options`, pins the
// thread, and blocks the stop signals. Returns the mask to wait with (epoll_pwait, io_uring's
// sigmask), in which alone they arrive, so that none is lost between a check of raw_stopped and the
// wait.
sigset_t raw_start(struct raw_options* options, int argc, char** argv);

// A non-blocking listener on 127.0.0.1. Port 0 picks a free one, which goes to *port. With `shared`
// there may be several on a port, and the kernel spreads the connections (SO_REUSEPORT).
int raw_listen(int* port, bool shared);

// The next connection that waits, non-blocking, which answers at once (TCP_NODELAY); -1: none.
int raw_accept(int listen_fd);
void raw_no_delay(int fd);

// Zeroed memory; never NULL.
void* raw_allocate(size_t bytes);

// The subscribers that get each publish, in any order. A subscriber begins with its raw_member.
struct raw_member {
  size_t index;
};
struct raw_members {
  struct raw_member** all;
  size_t count;
  size_t capacity;
};
void raw_add_member(struct raw_members* members, struct raw_member* member);
// The last one takes its place.
void raw_remove_member(struct raw_members* members, struct raw_member const* member);

// Prints "listening PORT"; the CPU time counts from here.
void raw_print_listening(int port);

// Prints "cpu user_ms U sys_ms S".
void raw_print_cpu(void);

// Ends the process with the text of errno, or of -result for raw_fail_with.
_Noreturn void raw_fail(char const* what);
_Noreturn void raw_fail_with(char const* what, int result);
