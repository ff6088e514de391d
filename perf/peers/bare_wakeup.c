// What it costs to wake a sleeping thread on another CPU and nothing else: two threads, each pinned
// and with a ring of its own, wake each other in turns by MSG_RING and sleep until it comes. The
// latency is half of a round trip. The yardstick for messages between sleeping cores.
//
//   bare_wakeup [--seconds S] [--cpus A,B] [--gap US]
//
// --gap: both sleep for that time before each message, as cores do that have little to do. Prints
// one line of JSON with the fields that corelane-load uses for the same things.
#define _GNU_SOURCE
#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { kEntries = 64, kSamplesMax = 1 << 20 };

struct side {
  struct io_uring ring;
  struct side* other;
  int cpu;
  uint32_t* samples;  // round trips in ns; only of the side that counts
  size_t sample_count;
};

static atomic_bool is_over;
static pthread_barrier_t both_ready;

static _Noreturn void fail(char const* what, int result) {
  fprintf(stderr, "bare_wakeup: %s: %s\n", what, strerror(-result));
  exit(1);
}

static uint64_t now_ns(void) {
  struct timespec now;
  // tidy: allow banned_call: a measuring program of its own, not on the runtime
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static void start_ring(struct side* side) {
  struct io_uring_params params = {.flags =
                                       IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN};
  int const result = io_uring_queue_init_params(kEntries, &side->ring, &params);
  if (result < 0) fail("io_uring_queue_init", result);
}

static void wake_other(struct side* side) {
  struct io_uring_sqe* const sqe = io_uring_get_sqe(&side->ring);
  io_uring_prep_msg_ring(sqe, side->other->ring.ring_fd, 0, 1, 0);
  sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

// Submits what is prepared and sleeps until the other side's message is there.
static void sleep_until_woken(struct side* side) {
  int const result = io_uring_submit_and_wait(&side->ring, 1);
  if (result < 0 && result != -EINTR) fail("submit_and_wait", result);
  unsigned head = 0;
  unsigned count = 0;
  struct io_uring_cqe const* cqe = NULL;
  io_uring_for_each_cqe(&side->ring, head, cqe) {
    if (cqe->res < 0) fail("msg_ring", cqe->res);
    ++count;
  }
  io_uring_cq_advance(&side->ring, count);
}

static void pin(struct side const* side) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET((size_t)side->cpu, &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) fail("sched_setaffinity", -errno);
}

static void* run_answering(void* argument) {
  struct side* const side = argument;
  pin(side);
  start_ring(side);
  pthread_barrier_wait(&both_ready);
  while (!atomic_load(&is_over)) {
    sleep_until_woken(side);
    wake_other(side);
  }
  io_uring_submit(&side->ring);
  return NULL;
}

static void sleep_for(double us) {
  struct timespec const gap = {.tv_nsec = (long)(us * 1e3)};
  // tidy: allow banned_call: as above
  nanosleep(&gap, NULL);
}

static void run_counting(struct side* side, double seconds, double gap_us) {
  pin(side);
  start_ring(side);
  pthread_barrier_wait(&both_ready);
  uint64_t const end = now_ns() + (uint64_t)(seconds * 1e9);
  uint64_t before = now_ns();
  while (before < end) {
    if (gap_us > 0) {
      sleep_for(gap_us);
      before = now_ns();
    }
    wake_other(side);
    sleep_until_woken(side);
    uint64_t const after = now_ns();
    if (side->sample_count < kSamplesMax) {
      side->samples[side->sample_count++] = (uint32_t)(after - before);
    }
    before = after;
  }
  atomic_store(&is_over, true);
  wake_other(side);
  sleep_until_woken(side);
}

static int ascending(void const* left, void const* right) {
  uint32_t const a = *(uint32_t const*)left;
  uint32_t const b = *(uint32_t const*)right;
  return a < b ? -1 : a > b;
}

static uint32_t one_way(struct side const* side, double percentile) {
  size_t const index = (size_t)((double)(side->sample_count - 1) * percentile / 100);
  return side->samples[index] / 2;
}

int main(int argc, char** argv) {
  double seconds = 1;
  double gap_us = 0;
  struct side counting = {.cpu = 0};
  struct side answering = {.cpu = 1};
  for (int i = 1; i < argc; i += 2) {
    char const* const value = i + 1 < argc ? argv[i + 1] : "";
    char* end = NULL;
    if (strcmp(argv[i], "--seconds") == 0) {
      seconds = strtod(value, &end);
    } else if (strcmp(argv[i], "--gap") == 0) {
      gap_us = strtod(value, &end);
      if (gap_us < 0 || gap_us >= 1e6) end = NULL;
    } else if (strcmp(argv[i], "--cpus") == 0) {
      counting.cpu = (int)strtol(value, &end, 10);
      if (end != NULL && *end == ',') answering.cpu = (int)strtol(end + 1, &end, 10);
    }
    if (end == NULL || end == value || *end != '\0') {
      fprintf(stderr, "usage: bare_wakeup [--seconds S] [--cpus A,B] [--gap US]\n");
      return 2;
    }
  }
  counting.other = &answering;
  answering.other = &counting;
  counting.samples = malloc(kSamplesMax * sizeof *counting.samples);
  if (counting.samples == NULL) fail("malloc", -ENOMEM);
  pthread_barrier_init(&both_ready, NULL, 2);
  pthread_t thread;
  // tidy: allow banned_call: a measuring program of its own, not on the runtime
  if (pthread_create(&thread, NULL, run_answering, &answering) != 0)
    fail("pthread_create", -EAGAIN);
  run_counting(&counting, seconds, gap_us);
  pthread_join(thread, NULL);
  if (counting.sample_count == 0) return 1;
  qsort(counting.samples, counting.sample_count, sizeof *counting.samples, ascending);
  printf(
      "{\"load\":\"bare_wakeup\",\"seconds\":%.3f,\"messages\":%zu,\"messages_per_second\":%.1f,"
      "\"latency_ns\":{\"p50\":%u,\"p90\":%u,\"p99\":%u,\"p99.9\":%u,\"max\":%u}}\n",
      seconds, counting.sample_count, (double)counting.sample_count / seconds,
      one_way(&counting, 50), one_way(&counting, 90), one_way(&counting, 99),
      one_way(&counting, 99.9), one_way(&counting, 100));
  free(counting.samples);
  return 0;
}
