#define _GNU_SOURCE
#include "perf/peers/raw_ring.h"

#include <errno.h>
#include <stddef.h>

#include "perf/peers/raw_server.h"

void raw_start_ring(struct io_uring* ring, unsigned entries) {
  struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER |
                                            IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE |
                                            IORING_SETUP_SUBMIT_ALL,
                                   .cq_entries = entries * 4};
  int result = io_uring_queue_init_params(entries, ring, &params);
  if (result < 0) raw_fail_with("io_uring_queue_init", result);
  result = io_uring_register_ring_fd(ring);
  if (result < 0) raw_fail_with("register_ring_fd", result);
}

struct io_uring_sqe* raw_next_sqe(struct io_uring* ring) {
  struct io_uring_sqe* const sqe = io_uring_get_sqe(ring);
  if (sqe != NULL) return sqe;
  int const result = io_uring_submit(ring);
  if (result < 0) raw_fail_with("submit", result);
  return io_uring_get_sqe(ring);
}

void raw_submit_and_wait(struct io_uring* ring, sigset_t* mask_while_waiting) {
  struct io_uring_cqe* first = NULL;
  int const result = io_uring_submit_and_wait_timeout(ring, &first, 1, NULL, mask_while_waiting);
  if (result < 0 && result != -EINTR) raw_fail_with("submit_and_wait", result);
}
