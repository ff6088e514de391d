// The physical limit that the echo measurements are compared with: a TCP echo in plain C on epoll,
// one thread, nothing but the system calls that moving the bytes needs. Level-triggered,
// non-blocking, TCP_NODELAY. All connections share one hot buffer: a readable connection is read
// once and what came is written back at once. Only what the socket does not take is copied into a
// queue of that connection; until the queue is empty the connection is not read again, so memory
// per connection is at most one buffer.
//
//   raw_epoll_echo [--port P] [--cpu N] [--buffer BYTES] [--threads N]
//
// More threads share the port (SO_REUSEPORT) and nothing else; thread i runs on the i-th CPU that
// the process may use.
// Listens on 127.0.0.1, port 0 (the default) picks a free one. Prints "listening PORT". On SIGTERM
// or SIGINT it prints the CPU time it has used since that line, "cpu user_ms U sys_ms S", and ends
// with status 0.
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <threads.h>
#include <unistd.h>

#include "perf/peers/raw_epoll.h"
#include "perf/peers/raw_server.h"

enum { kBufferBytesDefault = 256 * 1024 };

struct connection {
  int fd;
  char* queued;         // what the socket did not take; NULL if all was taken
  size_t queued_bytes;  // in `queued`
  size_t sent_bytes;    // of `queued`
};

static void close_connection(struct connection* connection) {
  close(connection->fd);
  free(connection->queued);
  free(connection);
}

static void* make_connection(int fd) {
  struct connection* const connection = raw_allocate(sizeof *connection);
  connection->fd = fd;
  return connection;
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

static void on_readable(struct raw_epoll const* server, struct connection* connection) {
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
  raw_watch(server, connection->fd, connection, EPOLLOUT);
}

static void on_writable(struct raw_epoll const* server, struct connection* connection) {
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
  raw_watch(server, connection->fd, connection, EPOLLIN);
}

static void on_event(void* owner, void* one, unsigned events) {
  struct raw_epoll const* const server = owner;
  struct connection* const connection = one;
  (void)events;
  if (connection->queued != NULL) {
    on_writable(server, connection);
  } else {
    on_readable(server, connection);
  }
}

struct thread {
  thrd_t id;
  struct raw_epoll server;
  sigset_t mask_while_waiting;
};

// Pins the calling thread to a CPU of `allowed`.
static void pin_to_nth(cpu_set_t const* allowed, int index) {
  int cpu = 0;
  for (int left = index % CPU_COUNT(allowed);; ++cpu) {
    if (CPU_ISSET((size_t)cpu, allowed) && left-- == 0) break;
  }
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET((size_t)cpu, &one);
  if (sched_setaffinity(0, sizeof one, &one) != 0) raw_fail("sched_setaffinity");
}

static int run_thread(void* argument) {
  struct thread* const thread = argument;
  raw_turn_epoll(&thread->server, &thread->mask_while_waiting, make_connection, on_event,
                 &thread->server);
  kill(getpid(), SIGTERM);  // one thread has taken the signal: it stays until the last has seen it
  return 0;
}

int main(int argc, char** argv) {
  struct raw_options options = {
      .program = "raw_epoll_echo", .cpu = -1, .buffer_bytes = kBufferBytesDefault, .threads = 1};
  struct raw_epoll server;
  sigset_t const mask_while_waiting = raw_start_epoll(&server, &options, argc, argv);
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) raw_fail("sched_getaffinity");
  struct thread* const threads = raw_allocate((size_t)options.threads * sizeof *threads);
  for (int i = 1; i < options.threads; ++i) {
    threads[i].mask_while_waiting = mask_while_waiting;
    raw_open_epoll(&threads[i].server, &options);
    pin_to_nth(&allowed, i);  // which the new thread inherits
    if (thrd_create(&threads[i].id, run_thread, &threads[i]) != thrd_success)
      raw_fail("thrd_create");
  }
  if (options.threads > 1) pin_to_nth(&allowed, 0);
  raw_print_listening(options.port);
  raw_turn_epoll(&server, &mask_while_waiting, make_connection, on_event, &server);
  kill(getpid(), SIGTERM);
  for (int i = 1; i < options.threads; ++i) thrd_join(threads[i].id, NULL);
  raw_print_cpu();
  free(threads);
  return 0;
}
