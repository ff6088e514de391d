// The physical limit that the echo measurements are compared with: a TCP echo in plain C on epoll,
// one thread, nothing but the system calls that moving the bytes needs. Level-triggered,
// non-blocking, TCP_NODELAY. All connections share one hot buffer: a readable connection is read
// once and what came is written back at once. Only what the socket does not take is copied into a
// queue of that connection; until the queue is empty the connection is not read again, so memory
// per connection is at most one buffer.
//
//   raw_epoll_echo [--port P] [--cpu N] [--buffer BYTES]
//
// Listens on 127.0.0.1, port 0 (the default) picks a free one. Prints "listening PORT". On SIGTERM
// or SIGINT it prints the CPU time it has used since that line, "cpu user_ms U sys_ms S", and ends
// with status 0.
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "perf/peers/raw_server.h"

enum { kEventsMax = 512, kBufferBytesDefault = 256 * 1024 };

struct connection {
  int fd;
  char* queued;         // what the socket did not take; NULL if all was taken
  size_t queued_bytes;  // in `queued`
  size_t sent_bytes;    // of `queued`
};

struct server {
  int epoll_fd;
  int listen_fd;
  char* buffer;
  size_t buffer_bytes;
};

static void watch(struct server const* server, struct connection* connection, unsigned events) {
  struct epoll_event event = {.events = events, .data.ptr = connection};
  if (epoll_ctl(server->epoll_fd, EPOLL_CTL_MOD, connection->fd, &event) != 0)
    raw_fail("epoll_ctl");
}

static void close_connection(struct connection* connection) {
  close(connection->fd);
  free(connection->queued);
  free(connection);
}

static void accept_all(struct server const* server) {
  for (;;) {
    int const fd = accept4(server->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EAGAIN) return;
      if (errno == EINTR || errno == ECONNABORTED) continue;
      raw_fail("accept");
    }
    raw_no_delay(fd);
    struct connection* const connection = calloc(1, sizeof *connection);
    if (connection == NULL) raw_fail("calloc");
    connection->fd = fd;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    if (epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) raw_fail("epoll_ctl");
  }
}

// Writes until all is taken or the socket is full. Returns the bytes taken, or -1 if the peer is
// gone.
static ssize_t write_some(int fd, char const* bytes, size_t count) {
  size_t done = 0;
  while (done < count) {
    ssize_t const sent = send(fd, bytes + done, count - done, MSG_NOSIGNAL);
    if (sent >= 0) {
      done += (size_t)sent;
    } else if (errno == EAGAIN) {
      break;
    } else if (errno != EINTR) {
      return -1;
    }
  }
  return (ssize_t)done;
}

static void on_readable(struct server const* server, struct connection* connection) {
  ssize_t const received = recv(connection->fd, server->buffer, server->buffer_bytes, 0);
  if (received <= 0) {
    if (received < 0 && (errno == EAGAIN || errno == EINTR)) return;
    close_connection(connection);
    return;
  }
  ssize_t const taken = write_some(connection->fd, server->buffer, (size_t)received);
  if (taken < 0) {
    close_connection(connection);
    return;
  }
  if (taken == received) return;
  connection->queued_bytes = (size_t)(received - taken);
  connection->sent_bytes = 0;
  connection->queued = malloc(connection->queued_bytes);
  if (connection->queued == NULL) raw_fail("malloc");
  memcpy(connection->queued, server->buffer + taken, connection->queued_bytes);
  watch(server, connection, EPOLLOUT);
}

static void on_writable(struct server const* server, struct connection* connection) {
  ssize_t const taken = write_some(connection->fd, connection->queued + connection->sent_bytes,
                                   connection->queued_bytes - connection->sent_bytes);
  if (taken < 0) {
    close_connection(connection);
    return;
  }
  connection->sent_bytes += (size_t)taken;
  if (connection->sent_bytes < connection->queued_bytes) return;
  free(connection->queued);
  connection->queued = NULL;
  watch(server, connection, EPOLLIN);
}

static void run(struct server const* server, sigset_t const* mask_while_waiting) {
  struct epoll_event events[kEventsMax];
  while (!raw_stopped) {
    int const count = epoll_pwait(server->epoll_fd, events, kEventsMax, -1, mask_while_waiting);
    if (count < 0 && errno != EINTR) raw_fail("epoll_pwait");
    for (int i = 0; i < count; ++i) {
      struct connection* const connection = events[i].data.ptr;
      if (connection == NULL) {
        accept_all(server);
      } else if (connection->queued != NULL) {
        on_writable(server, connection);
      } else {
        on_readable(server, connection);
      }
    }
  }
}

int main(int argc, char** argv) {
  struct raw_options options = {
      .program = "raw_epoll_echo", .cpu = -1, .buffer_bytes = kBufferBytesDefault};
  sigset_t const mask_while_waiting = raw_start(&options, argc, argv);
  struct server server = {.buffer_bytes = options.buffer_bytes};
  server.buffer = calloc(1, server.buffer_bytes);
  if (server.buffer == NULL) raw_fail("calloc");
  server.listen_fd = raw_listen(&options.port);
  server.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (server.epoll_fd < 0) raw_fail("epoll_create1");
  // A null pointer marks the listener: every connection has one of its own.
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
  if (epoll_ctl(server.epoll_fd, EPOLL_CTL_ADD, server.listen_fd, &event) != 0) {
    raw_fail("epoll_ctl");
  }
  raw_print_listening(options.port);

  run(&server, &mask_while_waiting);

  raw_print_cpu();
  free(server.buffer);
  return 0;
}
