#pragma once
// What the raw yardsticks on epoll share: level-triggered, non-blocking, one hot buffer for all
// connections. Failures end the process.

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "perf/peers/raw_server.h"

enum { kEventsMax = 512 };

struct raw_epoll {
  int epoll_fd;
  int listen_fd;
  char* buffer;
  size_t buffer_bytes;
};

// Parses the arguments, listens, and watches the listener.
sigset_t raw_start_epoll(struct raw_epoll* epoll, struct raw_options* options, int argc,
                         char** argv);
// The second half of that: another thread's own, on the port of the first.
void raw_open_epoll(struct raw_epoll* epoll, struct raw_options* options);
// Changes what a connection is watched for; it begins with EPOLLIN.
void raw_watch(struct raw_epoll const* epoll, int fd, void* connection, unsigned events);
// Accepts all that wait; `make` gives each what its events shall come with.
void raw_accept_all(struct raw_epoll const* epoll, void* (*make)(int fd));

// Hands out events until a stop signal comes. Inline, so that `on_event` is called directly.
static inline void raw_turn_epoll(struct raw_epoll const* epoll, sigset_t const* mask_while_waiting,
                                  void* (*make)(int fd),
                                  void (*on_event)(void* server, void* connection, unsigned events),
                                  void* server) {
  struct epoll_event events[kEventsMax];
  while (!raw_stopped) {
    int const count = epoll_pwait(epoll->epoll_fd, events, kEventsMax, -1, mask_while_waiting);
    if (count < 0 && errno != EINTR) raw_fail("epoll_pwait");
    for (int i = 0; i < count; ++i) {
      // The listener comes with a null pointer.
      if (events[i].data.ptr == NULL) {
        raw_accept_all(epoll, make);
      } else {
        on_event(server, events[i].data.ptr, events[i].events);
      }
    }
  }
  free(epoll->buffer);
}

// The same between saying where it listens and what it cost.
static inline void raw_run_epoll(struct raw_epoll const* epoll, struct raw_options const* options,
                                 sigset_t const* mask_while_waiting, void* (*make)(int fd),
                                 void (*on_event)(void* server, void* connection, unsigned events),
                                 void* server) {
  raw_print_listening(options->port);
  raw_turn_epoll(epoll, mask_while_waiting, make, on_event, server);
  raw_print_cpu();
}
