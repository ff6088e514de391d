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
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { kEventsMax = 512, kBacklog = 4096, kBufferBytesDefault = 256 * 1024 };

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

static volatile sig_atomic_t stopped;

static void on_stop(int signal_number) {
  (void)signal_number;
  stopped = 1;
}

static void fail(char const* what) {
  fprintf(stderr, "raw_epoll_echo: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void watch(struct server const* server, struct connection* connection, unsigned events) {
  struct epoll_event event = {.events = events, .data.ptr = connection};
  if (epoll_ctl(server->epoll_fd, EPOLL_CTL_MOD, connection->fd, &event) != 0) fail("epoll_ctl");
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
      fail("accept");
    }
    int const on = 1;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) fail("TCP_NODELAY");
    struct connection* const connection = calloc(1, sizeof *connection);
    if (connection == NULL) fail("calloc");
    connection->fd = fd;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    if (epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) fail("epoll_ctl");
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
  if (connection->queued == NULL) fail("malloc");
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

// Listens on 127.0.0.1 and returns the port.
static int start_listening(struct server* server, int port) {
  server->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (server->listen_fd < 0) fail("socket");
  int const on = 1;
  setsockopt(server->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  if (bind(server->listen_fd, (struct sockaddr*)&address, length) != 0) fail("bind");
  if (listen(server->listen_fd, kBacklog) != 0) fail("listen");
  if (getsockname(server->listen_fd, (struct sockaddr*)&address, &length) != 0) {
    fail("getsockname");
  }
  server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (server->epoll_fd < 0) fail("epoll_create1");
  // A null pointer marks the listener: every connection has one of its own.
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
  if (epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, server->listen_fd, &event) != 0) fail("epoll_ctl");
  return ntohs(address.sin_port);
}

static void run(struct server const* server, sigset_t const* mask_while_waiting) {
  struct epoll_event events[kEventsMax];
  while (!stopped) {
    int const count = epoll_pwait(server->epoll_fd, events, kEventsMax, -1, mask_while_waiting);
    if (count < 0 && errno != EINTR) fail("epoll_pwait");
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

static void pin_to(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET((size_t)cpu, &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) fail("sched_setaffinity");
}

static long to_number(char const* option, char const* text, long most) {
  char* end = NULL;
  errno = 0;
  long const value = strtol(text, &end, 10);
  if (errno != 0 || end == text || *end != '\0' || value < 0 || value > most) {
    fprintf(stderr, "raw_epoll_echo: %s takes a number from 0 to %ld, not '%s'\n", option, most,
            text);
    exit(2);
  }
  return value;
}

static double milliseconds(struct timeval time) {
  return (double)time.tv_sec * 1e3 + (double)time.tv_usec / 1e3;
}

int main(int argc, char** argv) {
  struct server server = {.buffer_bytes = kBufferBytesDefault};
  int port = 0;
  int cpu = -1;
  for (int i = 1; i < argc; i += 2) {
    char const* const option = argv[i];
    char const* const value = i + 1 < argc ? argv[i + 1] : "";
    if (strcmp(option, "--port") == 0) {
      port = (int)to_number(option, value, 65535);
    } else if (strcmp(option, "--cpu") == 0) {
      cpu = (int)to_number(option, value, CPU_SETSIZE - 1);
    } else if (strcmp(option, "--buffer") == 0) {
      server.buffer_bytes = (size_t)to_number(option, value, 1L << 30);
    } else {
      fprintf(stderr, "usage: raw_epoll_echo [--port P] [--cpu N] [--buffer BYTES]\n");
      return 2;
    }
  }
  if (server.buffer_bytes == 0) server.buffer_bytes = kBufferBytesDefault;
  if (cpu >= 0) pin_to(cpu);

  // The stop signals arrive only inside epoll_pwait, so none is lost between the check and the
  // wait.
  sigset_t stop_signals;
  sigset_t mask_while_waiting;
  sigemptyset(&stop_signals);
  sigaddset(&stop_signals, SIGTERM);
  sigaddset(&stop_signals, SIGINT);
  sigprocmask(SIG_BLOCK, &stop_signals, &mask_while_waiting);
  struct sigaction action = {.sa_handler = on_stop};
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);

  server.buffer = malloc(server.buffer_bytes);
  if (server.buffer == NULL) fail("malloc");
  memset(server.buffer, 0, server.buffer_bytes);
  int const listening_port = start_listening(&server, port);
  struct rusage before;
  getrusage(RUSAGE_SELF, &before);
  printf("listening %d\n", listening_port);
  fflush(stdout);

  run(&server, &mask_while_waiting);

  struct rusage after;
  getrusage(RUSAGE_SELF, &after);
  printf("cpu user_ms %.3f sys_ms %.3f\n",
         milliseconds(after.ru_utime) - milliseconds(before.ru_utime),
         milliseconds(after.ru_stime) - milliseconds(before.ru_stime));
  free(server.buffer);
  return 0;
}
