#pragma once
// What the raw yardsticks on io_uring share: a ring that only this thread uses, whose completions
// are worked off when it waits. Failures end the process.

#include <liburing.h>
#include <signal.h>
#include <stddef.h>

// Takes `entries` submissions at once and four times as many completions.
void raw_start_ring(struct io_uring* ring, unsigned entries);

// Submits what is queued if there is no room; never NULL.
struct io_uring_sqe* raw_next_sqe(struct io_uring* ring);

// Submits and waits for at least one completion, or for a signal out of `mask_while_waiting`.
void raw_submit_and_wait(struct io_uring* ring, sigset_t* mask_while_waiting);

// Accepts until the process ends; completions have user_data 0.
void raw_arm_accept(struct io_uring* ring, int listen_fd);
// The connection of such a completion, which answers at once (TCP_NODELAY), or -1 if it brings
// none; accepting goes on.
int raw_accepted(struct io_uring* ring, int listen_fd, struct io_uring_cqe const* cqe);

// One turn: waits as raw_submit_and_wait() does, and works off what has completed. Inline, so that
// `on_completion` is called directly.
static inline void raw_turn(struct io_uring* ring, sigset_t* mask_while_waiting,
                            void (*on_completion)(void* server, struct io_uring_cqe const* cqe),
                            void* server) {
  raw_submit_and_wait(ring, mask_while_waiting);
  unsigned head = 0;
  unsigned count = 0;
  struct io_uring_cqe const* cqe = NULL;
  io_uring_for_each_cqe(ring, head, cqe) {
    on_completion(server, cqe);
    ++count;
  }
  io_uring_cq_advance(ring, count);
}
