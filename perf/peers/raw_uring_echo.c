// The physical limit of an echo on io_uring: a TCP echo in plain C, one thread, one ring that only
// this thread uses, completions run when it waits. Each connection has an armed multishot receive
// into a shared ring of provided buffers. What a connection received within one turn leaves as one
// send (a gathered one if it spans buffers), straight from the buffers, which go back to the ring
// when it is done; while a send is on its way, what comes waits for the next one. Running out of
// buffers ends the receives, and each sent batch arms its own again: that is the back-pressure.
//
//   raw_uring_echo [--port P] [--cpu N] [--buffer BYTES] [--buffers N]
//
// Listens on 127.0.0.1, port 0 (the default) picks a free one. Prints "listening PORT", and on
// SIGTERM or SIGINT the CPU time since, "cpu user_ms U sys_ms S".
#define _GNU_SOURCE
#include <errno.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "perf/peers/raw_ring.h"
#include "perf/peers/raw_server.h"

enum {
  kRingEntries = 4096,
  kGroup = 0,
  kGatheredMax = 64,  // buffers of one send
  kBufferBytesDefault = 4 * 1024,
  kBuffersDefault = 512,  // with the size above: in a 2 MiB L2 together
};

// The low bits of user_data; connections are aligned so far.
enum operation { kAccept = 0, kReceive = 1, kSend = 2, kOperationMask = 3 };

struct held {
  uint16_t buffer;  // id in the ring of provided buffers
  uint32_t bytes;
};

struct connection {
  struct connection* next_ready;
  int fd;
  bool is_receiving;
  bool is_sending;
  bool is_ready;  // in the list of this turn
  bool is_closing;
  // A ring: the first `sending` entries are in the send on its way.
  struct held* held;
  uint32_t held_capacity;  // a power of two
  uint32_t held_first;
  uint32_t held_count;
  uint32_t sending;
  struct msghdr message;
  struct iovec* gathered;  // kGatheredMax of them, made with the first gathered send
};

struct server {
  struct io_uring ring;
  struct io_uring_buf_ring* buffers;
  char* memory;
  size_t buffer_bytes;
  uint32_t buffer_count;  // a power of two
  uint32_t buffers_free;  // in the ring
  int listen_fd;
  struct connection* ready;
};

static void give_back(struct server* server, uint16_t buffer) {
  io_uring_buf_ring_add(server->buffers, server->memory + buffer * server->buffer_bytes,
                        (unsigned)server->buffer_bytes, buffer,
                        io_uring_buf_ring_mask(server->buffer_count), 0);
  io_uring_buf_ring_advance(server->buffers, 1);
  ++server->buffers_free;
}

static void arm_receive(struct server* server, struct connection* connection) {
  struct io_uring_sqe* const sqe = raw_next_sqe(&server->ring);
  io_uring_prep_recv_multishot(sqe, connection->fd, NULL, 0, 0);
  sqe->flags |= IOSQE_BUFFER_SELECT;
  sqe->buf_group = kGroup;
  io_uring_sqe_set_data64(sqe, (uintptr_t)connection | kReceive);
  connection->is_receiving = true;
}

static struct held* held_at(struct connection* connection, uint32_t index) {
  uint32_t const mask = connection->held_capacity - 1;
  return &connection->held[(connection->held_first + index) & mask];
}

static void hold(struct connection* connection, uint16_t buffer, uint32_t bytes) {
  if (connection->held_count == connection->held_capacity) {
    uint32_t const capacity = connection->held_capacity == 0 ? 8 : connection->held_capacity * 2;
    struct held* const grown = malloc(capacity * sizeof *grown);
    if (grown == NULL) raw_fail("malloc");
    for (uint32_t i = 0; i < connection->held_count; ++i) grown[i] = *held_at(connection, i);
    free(connection->held);
    connection->held = grown;
    connection->held_capacity = capacity;
    connection->held_first = 0;
  }
  *held_at(connection, connection->held_count) = (struct held){buffer, bytes};
  ++connection->held_count;
}

static void mark_ready(struct server* server, struct connection* connection) {
  if (connection->is_ready) return;
  connection->is_ready = true;
  connection->next_ready = server->ready;
  server->ready = connection;
}

static void send_held(struct server* server, struct connection* connection) {
  uint32_t const count =
      connection->held_count < kGatheredMax ? connection->held_count : kGatheredMax;
  struct io_uring_sqe* const sqe = raw_next_sqe(&server->ring);
  if (count == 1) {
    struct held const* const one = held_at(connection, 0);
    io_uring_prep_send(sqe, connection->fd, server->memory + one->buffer * server->buffer_bytes,
                       one->bytes, MSG_WAITALL | MSG_NOSIGNAL);
  } else {
    if (connection->gathered == NULL) {
      connection->gathered = malloc(kGatheredMax * sizeof *connection->gathered);
      if (connection->gathered == NULL) raw_fail("malloc");
    }
    for (uint32_t i = 0; i < count; ++i) {
      struct held const* const each = held_at(connection, i);
      connection->gathered[i] =
          (struct iovec){server->memory + each->buffer * server->buffer_bytes, each->bytes};
    }
    connection->message = (struct msghdr){.msg_iov = connection->gathered, .msg_iovlen = count};
    io_uring_prep_sendmsg(sqe, connection->fd, &connection->message, MSG_WAITALL | MSG_NOSIGNAL);
  }
  io_uring_sqe_set_data64(sqe, (uintptr_t)connection | kSend);
  connection->sending = count;
  connection->is_sending = true;
}

static void close_when_idle(struct server* server, struct connection* connection) {
  if (!connection->is_closing) {
    connection->is_closing = true;
    // Ends what is on its way; its completion comes back here.
    shutdown(connection->fd, SHUT_RDWR);
  }
  if (connection->is_receiving || connection->is_sending || connection->is_ready) return;
  for (uint32_t i = 0; i < connection->held_count; ++i) {
    give_back(server, held_at(connection, i)->buffer);
  }
  close(connection->fd);
  free(connection->held);
  free(connection->gathered);
  free(connection);
}

static void on_accept(struct server* server, struct io_uring_cqe const* cqe) {
  int const fd = raw_accepted(&server->ring, server->listen_fd, cqe);
  if (fd < 0) return;
  struct connection* const connection = raw_allocate(sizeof *connection);
  connection->fd = fd;
  arm_receive(server, connection);
}

static void on_received(struct server* server, struct connection* connection,
                        struct io_uring_cqe const* cqe) {
  if ((cqe->flags & IORING_CQE_F_MORE) == 0) connection->is_receiving = false;
  if (cqe->res > 0) {
    --server->buffers_free;
    hold(connection, (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT), (uint32_t)cqe->res);
    mark_ready(server, connection);
  } else if (cqe->res == -ENOBUFS) {
    mark_ready(server, connection);  // armed again at the end of the turn or after its send
  } else {
    close_when_idle(server, connection);
  }
}

static void on_sent(struct server* server, struct connection* connection,
                    struct io_uring_cqe const* cqe) {
  uint32_t bytes = 0;
  for (uint32_t i = 0; i < connection->sending; ++i) {
    struct held const* const each = held_at(connection, i);
    bytes += each->bytes;
    give_back(server, each->buffer);
  }
  connection->held_first += connection->sending;
  connection->held_count -= connection->sending;
  connection->sending = 0;
  connection->is_sending = false;
  if (connection->is_closing || cqe->res < 0 || (uint32_t)cqe->res != bytes) {
    close_when_idle(server, connection);
  } else {
    mark_ready(server, connection);
  }
}

// Once a turn: one send for each connection that has something, and its receive if that ended. A
// receive without a free buffer would only fail again: that connection waits for a later turn.
static void finish_turn(struct server* server) {
  struct connection* ready = server->ready;
  server->ready = NULL;
  while (ready != NULL) {
    struct connection* const connection = ready;
    ready = connection->next_ready;
    connection->is_ready = false;
    if (connection->is_closing) {
      close_when_idle(server, connection);
      continue;
    }
    if (!connection->is_sending && connection->held_count > 0) send_held(server, connection);
    if (connection->is_receiving || connection->is_sending) continue;
    if (server->buffers_free > 0) {
      arm_receive(server, connection);
    } else {
      mark_ready(server, connection);
    }
  }
}

static void on_completion(void* owner, struct io_uring_cqe const* cqe) {
  struct server* const server = owner;
  uint64_t const data = cqe->user_data;
  struct connection* const connection =
      (struct connection*)(uintptr_t)(data & ~(uint64_t)kOperationMask);
  switch ((enum operation)(data & kOperationMask)) {
    case kReceive:
      on_received(server, connection, cqe);
      break;
    case kSend:
      on_sent(server, connection, cqe);
      break;
    case kAccept:
    case kOperationMask:
      on_accept(server, cqe);
      break;
  }
}

static void run(struct server* server, sigset_t* mask_while_waiting) {
  while (!raw_stopped) {
    raw_turn(&server->ring, mask_while_waiting, on_completion, server);
    finish_turn(server);
  }
}

static void start_buffers(struct server* server) {
  size_t const page = 4096;
  size_t const bytes = server->buffer_count * sizeof(struct io_uring_buf);
  server->buffers = aligned_alloc(page, (bytes + page - 1) / page * page);
  server->memory =
      aligned_alloc(page, (server->buffer_count * server->buffer_bytes + page - 1) / page * page);
  if (server->buffers == NULL || server->memory == NULL) raw_fail("aligned_alloc");
  io_uring_buf_ring_init(server->buffers);
  struct io_uring_buf_reg registration = {.ring_addr = (uintptr_t)server->buffers,
                                          .ring_entries = server->buffer_count,
                                          .bgid = kGroup};
  int const result = io_uring_register_buf_ring(&server->ring, &registration, 0);
  if (result < 0) raw_fail_with("register_buf_ring", result);
  for (uint32_t i = 0; i < server->buffer_count; ++i) give_back(server, (uint16_t)i);
}

int main(int argc, char** argv) {
  struct raw_options options = {.program = "raw_uring_echo",
                                .cpu = -1,
                                .buffer_bytes = kBufferBytesDefault,
                                .buffers = kBuffersDefault};
  sigset_t mask_while_waiting = raw_start(&options, argc, argv);
  uint32_t buffer_count = 1;
  while (buffer_count < options.buffers) buffer_count *= 2;
  struct server server = {.buffer_bytes = options.buffer_bytes, .buffer_count = buffer_count};
  raw_start_ring(&server.ring, kRingEntries);
  start_buffers(&server);
  server.listen_fd = raw_listen(&options.port, false);
  raw_arm_accept(&server.ring, server.listen_fd);
  raw_print_listening(options.port);

  run(&server, &mask_while_waiting);

  raw_print_cpu();
  io_uring_queue_exit(&server.ring);
  free(server.buffers);
  free(server.memory);
  return 0;
}
