#define _GNU_SOURCE
#include "perf/peers/raw_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum { kBacklog = 4096 };

volatile sig_atomic_t raw_stopped;

static char const* program = "raw";
static struct rusage used_before;

_Noreturn void raw_fail_with(char const* what, int result) {
  fprintf(stderr, "%s: %s: %s\n", program, what, strerror(-result));
  exit(1);
}

_Noreturn void raw_fail(char const* what) {
  raw_fail_with(what, -errno);
}

static long to_number(char const* option, char const* text, long least, long most) {
  char* end = NULL;
  errno = 0;
  long const value = strtol(text, &end, 10);
  if (errno != 0 || end == text || *end != '\0' || value < least || value > most) {
    fprintf(stderr, "%s: %s takes a number from %ld to %ld, not '%s'\n", program, option, least,
            most, text);
    exit(2);
  }
  return value;
}

static void pin_to(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET((size_t)cpu, &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) raw_fail("sched_setaffinity");
}

static void on_stop(int signal_number) {
  (void)signal_number;
  raw_stopped = 1;
}

static sigset_t block_stop_signals(void) {
  sigset_t stop_signals;
  sigset_t mask_while_waiting;
  sigemptyset(&stop_signals);
  sigaddset(&stop_signals, SIGTERM);
  sigaddset(&stop_signals, SIGINT);
  sigprocmask(SIG_BLOCK, &stop_signals, &mask_while_waiting);
  struct sigaction action = {.sa_handler = on_stop};
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);
  return mask_while_waiting;
}

sigset_t raw_start(struct raw_options* options, int argc, char** argv) {
  program = options->program;
  for (int i = 1; i < argc; i += 2) {
    char const* const option = argv[i];
    char const* const value = i + 1 < argc ? argv[i + 1] : "";
    if (strcmp(option, "--port") == 0) {
      options->port = (int)to_number(option, value, 0, 65535);
    } else if (strcmp(option, "--cpu") == 0) {
      options->cpu = (int)to_number(option, value, 0, CPU_SETSIZE - 1);
    } else if (strcmp(option, "--buffer") == 0) {
      options->buffer_bytes = (size_t)to_number(option, value, 1, 1L << 30);
    } else if (strcmp(option, "--buffers") == 0 && options->buffers != 0) {
      options->buffers = (size_t)to_number(option, value, 1, 1L << 15);
    } else if (strcmp(option, "--threads") == 0 && options->threads != 0) {
      options->threads = (int)to_number(option, value, 1, CPU_SETSIZE);
    } else {
      fprintf(stderr, "usage: %s [--port P] [--cpu N] [--buffer BYTES]%s%s\n", program,
              options->buffers == 0 ? "" : " [--buffers N]",
              options->threads == 0 ? "" : " [--threads N]");
      exit(2);
    }
  }
  if (options->cpu >= 0) pin_to(options->cpu);
  return block_stop_signals();
}

int raw_listen(int* port, bool shared) {
  int const fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) raw_fail("socket");
  int const on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (shared) setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)*port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  if (bind(fd, (struct sockaddr*)&address, length) != 0) raw_fail("bind");
  if (listen(fd, kBacklog) != 0) raw_fail("listen");
  if (getsockname(fd, (struct sockaddr*)&address, &length) != 0) raw_fail("getsockname");
  *port = ntohs(address.sin_port);
  return fd;
}

int raw_accept(int listen_fd) {
  for (;;) {
    int const fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      raw_no_delay(fd);
      return fd;
    }
    if (errno == EAGAIN) return -1;
    if (errno != EINTR && errno != ECONNABORTED) raw_fail("accept");
  }
}

void raw_no_delay(int fd) {
  int const on = 1;
  if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) raw_fail("TCP_NODELAY");
}

void* raw_allocate(size_t bytes) {
  void* const memory = calloc(1, bytes);
  if (memory == NULL) raw_fail("calloc");
  return memory;
}

void raw_add_member(struct raw_members* members, struct raw_member* member) {
  if (members->count == members->capacity) {
    members->capacity = members->capacity == 0 ? 64 : members->capacity * 2;
    members->all = realloc(members->all, members->capacity * sizeof(struct raw_member*));
    if (members->all == NULL) raw_fail("realloc");
  }
  member->index = members->count;
  members->all[members->count++] = member;
}

void raw_remove_member(struct raw_members* members, struct raw_member const* member) {
  struct raw_member* const last = members->all[--members->count];
  members->all[member->index] = last;
  last->index = member->index;
}

void raw_print_listening(int port) {
  getrusage(RUSAGE_SELF, &used_before);
  printf("listening %d\n", port);
  fflush(stdout);
}

static double milliseconds_between(struct timeval before, struct timeval after) {
  return (double)(after.tv_sec - before.tv_sec) * 1e3 +
         (double)(after.tv_usec - before.tv_usec) / 1e3;
}

void raw_print_cpu(void) {
  struct rusage after;
  getrusage(RUSAGE_SELF, &after);
  printf("cpu user_ms %.3f sys_ms %.3f\n",
         milliseconds_between(used_before.ru_utime, after.ru_utime),
         milliseconds_between(used_before.ru_stime, after.ru_stime));
}
