#pragma once
// Runtime: all cores of a process, from start to end. The main task runs on core 0; when it has
// finished, every core stops. There are two implementations of run(), linked with the ring's:
// threads (runtime/uring/) and a single-threaded seeded world (runtime/sim/).

#include <functional>
#include <memory>
#include <vector>

#include "runtime/core.hpp"
#include "runtime/inbox.hpp"
#include "runtime/lanes.hpp"
#include "runtime/stall_monitor.hpp"
#include "runtime/task.hpp"
#include "runtime/types.hpp"

namespace corelane::runtime {

// Calls the functions of runtime::blocking; made by the driver of the cores.
class BlockingJob;
class Semaphore;
struct RuntimeOptions;
class BlockingPool {
 public:
  virtual ~BlockingPool();
  BlockingPool(const BlockingPool&) = delete;
  BlockingPool& operator=(const BlockingPool&) = delete;
  // On any core.
  virtual void run(BlockingJob& job) noexcept = 0;
  // The calls that this core may still have in the pool; used on that core.
  Semaphore& permits(CoreId core) noexcept { return *permits_[core]; }
  // Of this core, on it: calls that it has in the pool, and that wait for a permit.
  std::size_t calls(CoreId core) const noexcept;
  std::size_t waits(CoreId core) const noexcept;

 protected:
  explicit BlockingPool(const RuntimeOptions& options);

 private:
  std::size_t share_;  // permits of a core
  std::vector<std::unique_ptr<Semaphore>> permits_;
};

struct RuntimeOptions {
  CoreId cores = 1;
  std::vector<int> cpus{};  // core i is pinned to cpus[i % size]; empty: no pinning
  RingOptions ring{};
  std::uint32_t lane_slots = 1024;  // a lane, a power of two; a slot is 64 bytes
  // Most threads outside of the cores with lanes of their own, at once (runtime/foreign.hpp).
  CoreId threads_max = 8;
  // For runtime::blocking, of all cores together: threads, started with the first call, and calls
  // that wait for one.
  std::uint32_t blocking_threads = 2;
  std::uint32_t blocking_queue_max = 1024;
  // Most memory that all cores together hold for their peers (runtime/memory_account.hpp); each
  // core has its share. 0: no limit.
  std::uint64_t memory_bytes_max = 0;
  Nanoseconds lane_poll = 20 * kMicrosecond;
  std::uint64_t seed = 0;                          // 0: from entropy
  Nanoseconds stall_threshold = 5 * kMillisecond;  // 0: no stall detector
  StallMonitor::Sink stall_sink{};                 // default: the log
};

// The step of run() that failed.
enum class StartStep : std::uint8_t { ring, thread };

// The exit code for a main task that threw: EX_SOFTWARE of sysexits(3).
inline constexpr int kMainThrew = 70;

class Runtime {
 public:
  explicit Runtime(const RuntimeOptions& options);
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  // Starts the cores, runs `main` on core 0 and returns its result after all cores have stopped;
  // kMainThrew, and a line in the log, if it ends with an exception.
  // Error: a ring or a thread could not be made, failed_step() says which (see
  // runtime/features.hpp for the words). Once only.
  Result<int> run(std::function<Task<int>()> main);

  StartStep failed_step() const noexcept { return failed_step_; }
  CoreId cores() const noexcept { return options_.cores; }
  const RuntimeOptions& options() const noexcept { return options_; }
  LaneMatrix& lanes() noexcept { return lanes_; }
  Inbox& inbox(CoreId core) noexcept { return inboxes_[core]; }  // see runtime/post.hpp
  // See runtime/blocking.hpp. While run() runs.
  BlockingPool& blocking_pool() noexcept { return *blocking_pool_; }
  const BlockingPool* blocking_pool_or_null() const noexcept { return blocking_pool_.get(); }
  // Only from the core itself, or while the simulation runs.
  Core& core(CoreId id) noexcept { return *cores_[id]; }

 private:
  friend struct RuntimeDriver;
  RuntimeOptions options_;
  StartStep failed_step_ = StartStep::ring;
  LaneMatrix lanes_;
  std::unique_ptr<Inbox[]> inboxes_;
  std::unique_ptr<BlockingPool> blocking_pool_;
  std::vector<std::unique_ptr<Core>> cores_;
};

}  // namespace corelane::runtime
