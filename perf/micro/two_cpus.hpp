#pragma once
// Where the two threads of a benchmark run.

#include <pthread.h>
#include <sched.h>

#include <cstddef>

namespace corelane::perf {

inline void pin_to(int cpu) noexcept {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(cpu), &set);
  pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

// The first and the last CPU that this process may use; pins this thread to the first, for good
// measure only while it lives. With one CPU the two threads take turns.
class TwoCpus {
 public:
  TwoCpus() {
    pthread_getaffinity_np(pthread_self(), sizeof before_, &before_);
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (!CPU_ISSET(static_cast<std::size_t>(cpu), &before_)) continue;
      if (first_ < 0) first_ = cpu;
      second_ = cpu;
    }
    pin_to(first_);
  }
  ~TwoCpus() { pthread_setaffinity_np(pthread_self(), sizeof before_, &before_); }
  TwoCpus(const TwoCpus&) = delete;
  TwoCpus& operator=(const TwoCpus&) = delete;
  int second() const noexcept { return second_; }
  bool shared() const noexcept { return first_ == second_; }

 private:
  cpu_set_t before_{};
  int first_ = -1;
  int second_ = -1;
};

}  // namespace corelane::perf
