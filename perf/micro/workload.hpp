#pragma once
// What perf/micro measures: a Workload is one structure with everything prepared, a Case names it
// and says how to make it. The same cases are timed (Google Benchmark), counted (instructions under
// callgrind) and run small by the test suite; see main.cpp.
//
// Names are "structure/operation/parameter:value". Seeds are constants, so that a case does the
// same work in every process and on every machine, and the sums that runs return repeat.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace corelane::perf {

class Workload {
 public:
  Workload() = default;
  Workload(const Workload&) = delete;
  Workload& operator=(const Workload&) = delete;
  virtual ~Workload() = default;

  // Does `operations` of them and returns a sum over their results, which shows that the work was
  // done: the same for every new workload of a case.
  virtual std::uint64_t run(std::uint64_t operations) = 0;
};

struct CaseOptions {
  std::string name;
  // Bytes that one operation goes over (0: none), and things it is about, such as deliveries.
  std::uint64_t bytes = 0;
  std::uint64_t items = 1;
  // Operations whose instructions are counted; 0 where that says nothing (several threads).
  std::uint64_t counted = 1000;
  // Takes little time and memory to make: the test suite runs those.
  bool is_small = true;
};

struct Case {
  CaseOptions options;
  std::function<std::unique_ptr<Workload>()> make;
};

class Cases {
 public:
  // Adds a case of a Work(arguments...), a Workload.
  template <class Work, class... Arguments>
  void add(const CaseOptions& options, Arguments... arguments) {
    all_.push_back({.options = options,
                    .make = [arguments...] { return std::make_unique<Work>(arguments...); }});
  }
  const std::vector<Case>& all() const noexcept { return all_; }

 private:
  std::vector<Case> all_;
};

// The compiler must have `value` in a register or in memory here, and knows nothing about it after.
template <class T>
inline void keep(T& value) noexcept {
  asm volatile("" : "+m,r"(value) : : "memory");
}

inline constexpr std::uint64_t kSeed = 0x5eed'0f'c0'5e'1a'7eU;

void add_task_cases(Cases& cases);
void add_frame_pool_cases(Cases& cases);
void add_lane_cases(Cases& cases);
void add_core_channel_cases(Cases& cases);
void add_timer_cases(Cases& cases);
void add_slab_cases(Cases& cases);
void add_stream_cases(Cases& cases);
void add_frame_cases(Cases& cases);
void add_kernel_cases(Cases& cases);
void add_http_cases(Cases& cases);
void add_protocol_cases(Cases& cases);
void add_dispatch_cases(Cases& cases);
void add_session_cases(Cases& cases);
void add_channel_cases(Cases& cases);
void add_cache_cases(Cases& cases);

}  // namespace corelane::perf
