#define _GNU_SOURCE
#include "perf/peers/raw_epoll.h"

sigset_t raw_start_epoll(struct raw_epoll* epoll, struct raw_options* options, int argc,
                         char** argv) {
  sigset_t const mask_while_waiting = raw_start(options, argc, argv);
  raw_open_epoll(epoll, options);
  return mask_while_waiting;
}

void raw_open_epoll(struct raw_epoll* epoll, struct raw_options* options) {
  epoll->buffer_bytes = options->buffer_bytes;
  epoll->buffer = raw_allocate(epoll->buffer_bytes);
  epoll->listen_fd = raw_listen(&options->port, options->threads > 1);
  epoll->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (epoll->epoll_fd < 0) raw_fail("epoll_create1");
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
  if (epoll_ctl(epoll->epoll_fd, EPOLL_CTL_ADD, epoll->listen_fd, &event) != 0) {
    raw_fail("epoll_ctl");
  }
}

void raw_watch(struct raw_epoll const* epoll, int fd, void* connection, unsigned events) {
  struct epoll_event event = {.events = events, .data.ptr = connection};
  if (epoll_ctl(epoll->epoll_fd, EPOLL_CTL_MOD, fd, &event) != 0) raw_fail("epoll_ctl");
}

void raw_accept_all(struct raw_epoll const* epoll, void* (*make)(int fd)) {
  for (int fd = 0; (fd = raw_accept(epoll->listen_fd)) >= 0;) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = make(fd)};
    if (epoll_ctl(epoll->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) raw_fail("epoll_ctl");
  }
}
