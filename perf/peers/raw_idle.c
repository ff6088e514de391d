// The least that a connection takes of the kernel: accepted and held, and nobody waits for what
// comes. What another server's connections take beyond it is for waiting.
//
//   raw_idle [--port P] [--cpu N]
//
// Listens on 127.0.0.1, port 0 (the default) picks a free one. Prints "listening PORT", and on
// SIGTERM or SIGINT the CPU time since, "cpu user_ms U sys_ms S".
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>

#include "perf/peers/raw_server.h"

int main(int argc, char** argv) {
  struct raw_options options = {.program = "raw_idle", .cpu = -1, .buffer_bytes = 1};
  sigset_t const mask_while_waiting = raw_start(&options, argc, argv);
  struct pollfd listener = {.fd = raw_listen(&options.port, false), .events = POLLIN};
  raw_print_listening(options.port);
  while (!raw_stopped) {
    if (ppoll(&listener, 1, NULL, &mask_while_waiting) < 0 && errno != EINTR) raw_fail("ppoll");
    while (!raw_stopped && raw_accept(listener.fd) >= 0) continue;
  }
  raw_print_cpu();
  return 0;
}
