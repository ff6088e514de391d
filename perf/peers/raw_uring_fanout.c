// The physical limit of fan-out on io_uring: as raw_epoll_fanout (first byte 'S' or 'P', which
// comes back; whatever a publisher sends goes to every subscriber), with the sends of a turn as one
// batch of submissions. They do not wait, so they have read the buffer when the submission returns;
// the publisher's next bytes come into its second buffer. What a socket did not take is copied into
// a queue of that subscriber; one that falls kQueuedBytesMax behind is closed.
//
//   raw_uring_fanout [--port P] [--cpu N] [--buffer BYTES]
//
// Listens on 127.0.0.1, port 0 (the default) picks a free one. Prints "listening PORT", and on
// SIGTERM or SIGINT the CPU time since, "cpu user_ms U sys_ms S".
#define _GNU_SOURCE
#include <errno.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "perf/peers/raw_ring.h"
#include "perf/peers/raw_server.h"

enum { kRingEntries = 4096, kBufferBytesDefault = 256 * 1024, kQueuedBytesMax = 4 << 20 };
enum role { kUnknown = 0, kSubscriber = 'S', kPublisher = 'P' };

// The low bits of user_data; connections are aligned so far.
enum operation { kAccept = 0, kReceive = 1, kDeliver = 2, kSendQueued = 3, kOperationMask = 3 };

struct bytes {
  char* data;
  size_t count;
};

struct connection {
  struct raw_member member;  // of the subscribers
  int fd;
  enum role role;
  unsigned operations;  // in the kernel
  bool is_closing;
  char first;  // also what a subscriber sends besides, which is ignored
  // Of a subscriber: what is being sent asynchronously, and what waits behind it.
  struct bytes sending;
  size_t sent_bytes;
  struct bytes waiting;
  // Of a publisher: one is received into while the other is being delivered.
  char* buffers[2];
  unsigned filling;
  size_t received_bytes;  // in the one that is not filling
  struct connection* next_batch;
};

struct server {
  struct io_uring ring;
  size_t buffer_bytes;
  int listen_fd;
  struct raw_members subscribers;
  // Publishers whose bytes are to be delivered, in order; the sends of the first may be under way.
  struct connection* first_batch;
  struct connection* last_batch;
  size_t deliveries;  // in the kernel, of the first batch
  bool is_delivering;
};

static void started(struct io_uring_sqe* sqe, struct connection* connection,
                    enum operation operation) {
  io_uring_sqe_set_data64(sqe, (uintptr_t)connection | operation);
  ++connection->operations;
}

static void arm_receive(struct server* server, struct connection* connection) {
  struct io_uring_sqe* const sqe = raw_next_sqe(&server->ring);
  if (connection->role == kPublisher) {
    io_uring_prep_recv(sqe, connection->fd, connection->buffers[connection->filling],
                       server->buffer_bytes, 0);
  } else {
    io_uring_prep_recv(sqe, connection->fd, &connection->first, 1, 0);
  }
  started(sqe, connection, kReceive);
}

static void start_closing(struct server* server, struct connection* connection) {
  if (connection->is_closing) return;
  connection->is_closing = true;
  shutdown(connection->fd, SHUT_RDWR);  // ends what is on its way
  if (connection->role == kSubscriber) {
    raw_remove_member(&server->subscribers, &connection->member);
  }
}

static bool has_batch(struct connection const* connection) {
  return connection->received_bytes > 0;
}

static void free_when_idle(struct connection* connection) {
  if (!connection->is_closing || connection->operations > 0 || has_batch(connection)) return;
  close(connection->fd);
  free(connection->sending.data);
  free(connection->waiting.data);
  free(connection->buffers[0]);
  free(connection->buffers[1]);
  free(connection);
}

static void send_queued(struct server* server, struct connection* connection) {
  struct io_uring_sqe* const sqe = raw_next_sqe(&server->ring);
  io_uring_prep_send(sqe, connection->fd, connection->sending.data + connection->sent_bytes,
                     connection->sending.count - connection->sent_bytes,
                     MSG_NOSIGNAL | MSG_WAITALL);
  started(sqe, connection, kSendQueued);
}

static void queue(struct server* server, struct connection* connection, char const* bytes,
                  size_t count) {
  struct bytes* const waiting = &connection->waiting;
  if (waiting->count + count > kQueuedBytesMax) {
    start_closing(server, connection);
    return;
  }
  waiting->data = realloc(waiting->data, waiting->count + count);
  if (waiting->data == NULL) raw_fail("realloc");
  memcpy(waiting->data + waiting->count, bytes, count);
  waiting->count += count;
  if (connection->sending.data != NULL) return;
  connection->sending = *waiting;
  connection->sent_bytes = 0;
  *waiting = (struct bytes){0};
  send_queued(server, connection);
}

static void on_queued_sent(struct server* server, struct connection* connection, int result) {
  if (result < 0) {
    start_closing(server, connection);
    return;
  }
  connection->sent_bytes += (size_t)result;
  if (connection->sent_bytes == connection->sending.count) {
    free(connection->sending.data);
    connection->sending = connection->waiting;
    connection->sent_bytes = 0;
    connection->waiting = (struct bytes){0};
  }
  if (connection->sending.data != NULL && !connection->is_closing) send_queued(server, connection);
}

static char* delivered_from(struct connection const* publisher) {
  return publisher->buffers[1 - publisher->filling];
}

static void start_batch(struct server* server) {
  struct connection* const publisher = server->first_batch;
  char* const bytes = delivered_from(publisher);
  server->is_delivering = true;
  // Backwards: closing a subscriber puts the last one into its place.
  for (size_t i = server->subscribers.count; i-- > 0;) {
    struct connection* const subscriber = (struct connection*)server->subscribers.all[i];
    if (subscriber->sending.data != NULL) {
      queue(server, subscriber, bytes, publisher->received_bytes);
      continue;
    }
    struct io_uring_sqe* const sqe = raw_next_sqe(&server->ring);
    io_uring_prep_send(sqe, subscriber->fd, bytes, publisher->received_bytes,
                       MSG_NOSIGNAL | MSG_DONTWAIT);
    started(sqe, subscriber, kDeliver);
    ++server->deliveries;
  }
  if (!publisher->is_closing) arm_receive(server, publisher);
}

// Its memory may go with this.
static void finish_batch(struct server* server) {
  struct connection* const publisher = server->first_batch;
  server->first_batch = publisher->next_batch;
  server->is_delivering = false;
  publisher->received_bytes = 0;
  free_when_idle(publisher);
}

static void judge_delivery(struct server* server, struct connection* subscriber, int result) {
  struct connection const* const publisher = server->first_batch;
  if (subscriber->is_closing) return;
  if (result < 0 && result != -EAGAIN) {
    start_closing(server, subscriber);
    return;
  }
  size_t const taken = result < 0 ? 0 : (size_t)result;
  if (taken == publisher->received_bytes) return;
  queue(server, subscriber, delivered_from(publisher) + taken, publisher->received_bytes - taken);
}

// The sends complete before the publisher's next receive, which was submitted behind them.
static void on_delivered(struct server* server, struct connection* subscriber, int result) {
  judge_delivery(server, subscriber, result);
  if (--server->deliveries == 0) finish_batch(server);
}

static void start_batches(struct server* server) {
  while (server->first_batch != NULL && !server->is_delivering) {
    start_batch(server);
    if (server->deliveries == 0) finish_batch(server);
  }
}

static void on_publisher_bytes(struct server* server, struct connection* publisher, int count) {
  publisher->received_bytes = (size_t)count;
  publisher->filling = 1 - publisher->filling;
  publisher->next_batch = NULL;
  if (server->first_batch == NULL) {
    server->first_batch = publisher;
  } else {
    server->last_batch->next_batch = publisher;
  }
  server->last_batch = publisher;
}

static void on_first_byte(struct server* server, struct connection* connection) {
  if (connection->first == kSubscriber) {
    connection->role = kSubscriber;
    raw_add_member(&server->subscribers, &connection->member);
  } else if (connection->first == kPublisher) {
    connection->role = kPublisher;
    for (int i = 0; i < 2; ++i) {
      connection->buffers[i] = malloc(server->buffer_bytes);
      if (connection->buffers[i] == NULL) raw_fail("malloc");
    }
  } else {
    start_closing(server, connection);
    return;
  }
  if (send(connection->fd, &connection->first, 1, MSG_NOSIGNAL | MSG_DONTWAIT) != 1) {
    start_closing(server, connection);
    return;
  }
  arm_receive(server, connection);
}

static void on_received(struct server* server, struct connection* connection, int result) {
  if (result <= 0) {
    start_closing(server, connection);
  } else if (connection->role == kUnknown) {
    on_first_byte(server, connection);
  } else if (connection->role == kPublisher) {
    on_publisher_bytes(server, connection, result);
  } else if (!connection->is_closing) {
    arm_receive(server, connection);
  }
}

static void on_accept(struct server* server, struct io_uring_cqe const* cqe) {
  int const fd = raw_accepted(&server->ring, server->listen_fd, cqe);
  if (fd < 0) return;
  struct connection* const connection = raw_allocate(sizeof *connection);
  connection->fd = fd;
  arm_receive(server, connection);
}

static void on_completion(void* owner, struct io_uring_cqe const* cqe) {
  struct server* const server = owner;
  uint64_t const data = cqe->user_data;
  struct connection* const connection =
      (struct connection*)(uintptr_t)(data & ~(uint64_t)kOperationMask);
  if (connection == NULL) {
    on_accept(server, cqe);
    return;
  }
  --connection->operations;
  switch ((enum operation)(data & kOperationMask)) {
    case kReceive:
      on_received(server, connection, cqe->res);
      break;
    case kDeliver:
      on_delivered(server, connection, cqe->res);
      break;
    case kSendQueued:
      on_queued_sent(server, connection, cqe->res);
      break;
    case kAccept:
      break;
  }
  free_when_idle(connection);
}

static void run(struct server* server, sigset_t* mask_while_waiting) {
  while (!raw_stopped) {
    raw_turn(&server->ring, mask_while_waiting, on_completion, server);
    start_batches(server);
  }
}

int main(int argc, char** argv) {
  struct raw_options options = {
      .program = "raw_uring_fanout", .cpu = -1, .buffer_bytes = kBufferBytesDefault};
  sigset_t mask_while_waiting = raw_start(&options, argc, argv);
  struct server server = {.buffer_bytes = options.buffer_bytes};
  raw_start_ring(&server.ring, kRingEntries);
  server.listen_fd = raw_listen(&options.port, false);
  raw_arm_accept(&server.ring, server.listen_fd);
  raw_print_listening(options.port);

  run(&server, &mask_while_waiting);

  raw_print_cpu();
  io_uring_queue_exit(&server.ring);
  free(server.subscribers.all);
  return 0;
}
