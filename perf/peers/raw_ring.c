#define _GNU_SOURCE
#include "perf/peers/raw_ring.h"

#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>

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

void raw_arm_accept(struct io_uring* ring, int listen_fd) {
  struct io_uring_sqe* const sqe = raw_next_sqe(ring);
  io_uring_prep_multishot_accept(sqe, listen_fd, NULL, NULL, SOCK_CLOEXEC);
  io_uring_sqe_set_data64(sqe, 0);
}

int raw_accepted(struct io_uring* ring, int listen_fd, struct io_uring_cqe const* cqe) {
  if ((cqe->flags & IORING_CQE_F_MORE) == 0) raw_arm_accept(ring, listen_fd);
  if (cqe->res >= 0) {
    raw_no_delay(cqe->res);
    return cqe->res;
  }
  if (cqe->res != -ECONNABORTED && cqe->res != -EAGAIN && cqe->res != -EINTR) {
    raw_fail_with("accept", cqe->res);
  }
  return -1;
}
