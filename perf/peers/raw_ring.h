#pragma once
// What the raw yardsticks on io_uring share: a ring that only this thread uses, whose completions
// are worked off when it waits. Failures end the process.

#include <liburing.h>
#include <signal.h>

// Takes `entries` submissions at once and four times as many completions.
void raw_start_ring(struct io_uring* ring, unsigned entries);

// Submits what is queued if there is no room; never NULL.
struct io_uring_sqe* raw_next_sqe(struct io_uring* ring);

// Submits and waits for at least one completion, or for a signal out of `mask_while_waiting`.
void raw_submit_and_wait(struct io_uring* ring, sigset_t* mask_while_waiting);
