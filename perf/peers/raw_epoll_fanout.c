// The physical limit that fan-out is compared with: TCP in plain C on epoll, one thread, no
// protocol beyond a first byte. A connection that sends 'S' first subscribes, one that sends 'P'
// publishes; each gets its byte back. Whatever comes behind a 'P' is read into one hot buffer and
// sent to every subscriber, one send each. What a subscriber's socket does not take is copied into
// a queue of its own; one that falls kQueuedBytesMax behind is closed.
//
//   raw_epoll_fanout [--port P] [--cpu N] [--buffer BYTES]
//
// Listens on 127.0.0.1, port 0 (the default) picks a free one. Prints "listening PORT", and on
// SIGTERM or SIGINT the CPU time since, "cpu user_ms U sys_ms S".
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "perf/peers/raw_server.h"

enum { kEventsMax = 512, kBufferBytesDefault = 256 * 1024, kQueuedBytesMax = 4 << 20 };
enum role { kUnknown = 0, kSubscriber = 'S', kPublisher = 'P' };

struct connection {
  int fd;
  enum role role;
  size_t index;  // among the subscribers
  char* queued;  // what the socket did not take; NULL if all was taken
  size_t queued_bytes;
  size_t sent_bytes;  // of `queued`
};

struct server {
  int epoll_fd;
  int listen_fd;
  char* buffer;
  size_t buffer_bytes;
  struct connection** subscribers;
  size_t subscriber_count;
  size_t subscriber_capacity;
};

static void watch(struct server const* server, struct connection* connection, unsigned events) {
  struct epoll_event event = {.events = events, .data.ptr = connection};
  if (epoll_ctl(server->epoll_fd, EPOLL_CTL_MOD, connection->fd, &event) != 0) {
    raw_fail("epoll_ctl");
  }
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

static void add_subscriber(struct server* server, struct connection* connection) {
  if (server->subscriber_count == server->subscriber_capacity) {
    server->subscriber_capacity =
        server->subscriber_capacity == 0 ? 64 : server->subscriber_capacity * 2;
    server->subscribers =
        realloc(server->subscribers, server->subscriber_capacity * sizeof(struct connection*));
    if (server->subscribers == NULL) raw_fail("realloc");
  }
  connection->index = server->subscriber_count;
  server->subscribers[server->subscriber_count++] = connection;
}

static void close_connection(struct server* server, struct connection* connection) {
  if (connection->role == kSubscriber) {
    struct connection* const last = server->subscribers[--server->subscriber_count];
    server->subscribers[connection->index] = last;
    last->index = connection->index;
  }
  close(connection->fd);
  free(connection->queued);
  free(connection);
}

// The subscriber is closed by its next event: others may still look at it in this turn.
static void give_up(struct connection* connection) {
  shutdown(connection->fd, SHUT_RDWR);
}

static void queue(struct server const* server, struct connection* connection, char const* bytes,
                  size_t count) {
  if (connection->queued == NULL) {
    connection->queued_bytes = 0;
    connection->sent_bytes = 0;
    watch(server, connection, EPOLLIN | EPOLLOUT);
  }
  if (connection->queued_bytes - connection->sent_bytes + count > kQueuedBytesMax) {
    give_up(connection);
    return;
  }
  if (connection->sent_bytes > connection->queued_bytes / 2) {  // each byte moves once at most
    connection->queued_bytes -= connection->sent_bytes;
    memmove(connection->queued, connection->queued + connection->sent_bytes,
            connection->queued_bytes);
    connection->sent_bytes = 0;
  }
  connection->queued = realloc(connection->queued, connection->queued_bytes + count);
  if (connection->queued == NULL) raw_fail("realloc");
  memcpy(connection->queued + connection->queued_bytes, bytes, count);
  connection->queued_bytes += count;
}

static void deliver(struct server const* server, struct connection* connection, char const* bytes,
                    size_t count) {
  size_t taken = 0;
  if (connection->queued == NULL) {
    ssize_t const sent = send(connection->fd, bytes, count, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return;  // its next event closes it
    taken = sent < 0 ? 0 : (size_t)sent;
  }
  if (taken < count) queue(server, connection, bytes + taken, count - taken);
}

static void on_first_byte(struct server* server, struct connection* connection) {
  char first = 0;
  if (recv(connection->fd, &first, 1, 0) != 1 || (first != kSubscriber && first != kPublisher)) {
    close_connection(server, connection);
    return;
  }
  connection->role = first == kSubscriber ? kSubscriber : kPublisher;
  if (connection->role == kSubscriber) add_subscriber(server, connection);
  if (send(connection->fd, &first, 1, MSG_NOSIGNAL) != 1) give_up(connection);
}

static void on_readable(struct server* server, struct connection* connection) {
  if (connection->role == kUnknown) {
    on_first_byte(server, connection);
    return;
  }
  ssize_t const received = recv(connection->fd, server->buffer, server->buffer_bytes, 0);
  if (received <= 0) {
    if (received < 0 && (errno == EAGAIN || errno == EINTR)) return;
    close_connection(server, connection);
    return;
  }
  if (connection->role == kSubscriber) return;
  for (size_t i = 0; i < server->subscriber_count; ++i) {
    deliver(server, server->subscribers[i], server->buffer, (size_t)received);
  }
}

static void on_writable(struct server const* server, struct connection* connection) {
  ssize_t const sent = send(connection->fd, connection->queued + connection->sent_bytes,
                            connection->queued_bytes - connection->sent_bytes, MSG_NOSIGNAL);
  if (sent > 0) connection->sent_bytes += (size_t)sent;
  if (connection->sent_bytes < connection->queued_bytes) return;
  free(connection->queued);
  connection->queued = NULL;
  watch(server, connection, EPOLLIN);
}

static void run(struct server* server, sigset_t const* mask_while_waiting) {
  struct epoll_event events[kEventsMax];
  while (!raw_stopped) {
    int const count = epoll_pwait(server->epoll_fd, events, kEventsMax, -1, mask_while_waiting);
    if (count < 0 && errno != EINTR) raw_fail("epoll_pwait");
    for (int i = 0; i < count; ++i) {
      struct connection* const connection = events[i].data.ptr;
      if (connection == NULL) {
        accept_all(server);
        continue;
      }
      if ((events[i].events & EPOLLOUT) != 0 && connection->queued != NULL) {
        on_writable(server, connection);
      }
      if ((events[i].events & ~(unsigned)EPOLLOUT) != 0) on_readable(server, connection);
    }
  }
}

int main(int argc, char** argv) {
  struct raw_options options = {
      .program = "raw_epoll_fanout", .cpu = -1, .buffer_bytes = kBufferBytesDefault};
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
  free(server.subscribers);
  return 0;
}
