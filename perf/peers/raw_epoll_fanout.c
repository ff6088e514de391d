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
#include <sys/socket.h>
#include <unistd.h>

#include "perf/peers/raw_epoll.h"
#include "perf/peers/raw_server.h"

enum { kBufferBytesDefault = 256 * 1024, kQueuedBytesMax = 4 << 20 };
enum role { kUnknown = 0, kSubscriber = 'S', kPublisher = 'P' };

struct connection {
  struct raw_member member;  // of the subscribers
  int fd;
  enum role role;
  char* queued;  // what the socket did not take; NULL if all was taken
  size_t queued_bytes;
  size_t sent_bytes;  // of `queued`
};

struct server {
  struct raw_epoll epoll;
  struct raw_members subscribers;
};

static void* make_connection(int fd) {
  struct connection* const connection = raw_allocate(sizeof *connection);
  connection->fd = fd;
  return connection;
}

static void close_connection(struct server* server, struct connection* connection) {
  if (connection->role == kSubscriber) {
    raw_remove_member(&server->subscribers, &connection->member);
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
    raw_watch(&server->epoll, connection->fd, connection, EPOLLIN | EPOLLOUT);
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
  if (connection->role == kSubscriber) raw_add_member(&server->subscribers, &connection->member);
  if (send(connection->fd, &first, 1, MSG_NOSIGNAL) != 1) give_up(connection);
}

static void on_readable(struct server* server, struct connection* connection) {
  if (connection->role == kUnknown) {
    on_first_byte(server, connection);
    return;
  }
  ssize_t const received =
      recv(connection->fd, server->epoll.buffer, server->epoll.buffer_bytes, 0);
  if (received <= 0) {
    if (received < 0 && (errno == EAGAIN || errno == EINTR)) return;
    close_connection(server, connection);
    return;
  }
  if (connection->role == kSubscriber) return;
  for (size_t i = 0; i < server->subscribers.count; ++i) {
    deliver(server, (struct connection*)server->subscribers.all[i], server->epoll.buffer,
            (size_t)received);
  }
}

static void on_writable(struct server const* server, struct connection* connection) {
  ssize_t const sent = send(connection->fd, connection->queued + connection->sent_bytes,
                            connection->queued_bytes - connection->sent_bytes, MSG_NOSIGNAL);
  if (sent > 0) connection->sent_bytes += (size_t)sent;
  if (connection->sent_bytes < connection->queued_bytes) return;
  free(connection->queued);
  connection->queued = NULL;
  raw_watch(&server->epoll, connection->fd, connection, EPOLLIN);
}

static void on_event(void* owner, void* one, unsigned events) {
  struct server* const server = owner;
  struct connection* const connection = one;
  if ((events & EPOLLOUT) != 0 && connection->queued != NULL) on_writable(server, connection);
  if ((events & ~(unsigned)EPOLLOUT) != 0) on_readable(server, connection);
}

int main(int argc, char** argv) {
  struct raw_options options = {
      .program = "raw_epoll_fanout", .cpu = -1, .buffer_bytes = kBufferBytesDefault};
  struct server server = {0};
  sigset_t const mask_while_waiting = raw_start_epoll(&server.epoll, &options, argc, argv);
  raw_run_epoll(&server.epoll, &options, &mask_while_waiting, make_connection, on_event, &server);
  free(server.subscribers.all);
  return 0;
}
