#include "runtime/uring/trial_ring.hpp"

#include <fmt/format.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>

#include "runtime/types.hpp"
#include "runtime/uring_constants.hpp"

namespace corelane::runtime {
namespace {

constexpr Nanoseconds kPatience = 50 * kMillisecond;  // for one completion; it usually takes 20 us

}  // namespace

TrialRing::~TrialRing() {
  if (made_) io_uring_queue_exit(&ring_);
}

int TrialRing::make() noexcept {
  io_uring_params params{};
  params.flags = kRingSetupFlags;
  params.cq_entries = 4 * kEntries;
  const int result = io_uring_queue_init_params(kEntries, &ring_, &params);
  if (result < 0) return -result;
  made_ = true;
  kernel_features_ = params.features;
  return 0;
}

io_uring_sqe* TrialRing::request(TrialRequest which) noexcept {
  expect(which);
  return io_uring_get_sqe(&ring_);
}

void TrialRing::take_completions() noexcept {
  unsigned head = 0;
  unsigned taken = 0;
  io_uring_cqe* cqe = nullptr;
  io_uring_for_each_cqe(&ring_, head, cqe) {
    ++taken;
    if (cqe->user_data >= kTrialRequests) continue;
    Seen& seen = seen_[cqe->user_data];
    ++seen.completions;
    seen.result = cqe->res;
    seen.flags = cqe->flags;
  }
  io_uring_cq_advance(&ring_, taken);
}

template <class Done>
bool TrialRing::await(const Done& done) noexcept {
  // Two rounds more than completions can come; a wait ends after the first new completion.
  for (int round = 0; round < 8; ++round) {
    take_completions();
    if (done()) return true;
    __kernel_timespec patience{.tv_sec = 0, .tv_nsec = kPatience};
    io_uring_cqe* first = nullptr;
    const int result = io_uring_submit_and_wait_timeout(&ring_, &first, 1, &patience, nullptr);
    if (result < 0 && result != -EINTR) break;
  }
  take_completions();
  return done();
}

bool TrialRing::await_answer(TrialRequest which) noexcept {
  return await([&seen = seen_[which]] { return seen.completions != 0; });
}

bool TrialRing::await_end(TrialRequest which) noexcept {
  return await([&seen = seen_[which]] { return seen.ended(); });
}

bool setup_is_killed() {
  const pid_t child = fork();
  if (child < 0) return false;
  if (child == 0) {
    // Only system calls from here on: another thread may have held a lock at the fork.
    io_uring_params params{};
    syscall(__NR_io_uring_setup, 1, &params);
    _exit(0);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

std::string refused_setup_flags() {
  struct Flag {
    unsigned value;
    const char* name;
  };
  constexpr Flag kFlags[] = {
      {IORING_SETUP_CQSIZE, "CQSIZE"},
      {IORING_SETUP_CLAMP, "CLAMP"},
      {IORING_SETUP_SUBMIT_ALL, "SUBMIT_ALL"},
      {IORING_SETUP_COOP_TASKRUN, "COOP_TASKRUN"},
      {IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG, "TASKRUN_FLAG"},
      {IORING_SETUP_SINGLE_ISSUER, "SINGLE_ISSUER"},
      {IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, "DEFER_TASKRUN"},
  };
  std::string names;
  for (const Flag& flag : kFlags) {
    io_uring_params params{};
    params.flags = flag.value;
    params.cq_entries = 2 * TrialRing::kEntries;
    const OwnedDescriptor ring(io_uring_setup(TrialRing::kEntries, &params));
    if (ring.number() == -EINVAL)
      names += fmt::format("{}{}", names.empty() ? "" : ", ", flag.name);
  }
  return names;
}

}  // namespace corelane::runtime
