#pragma once
// Core: everything that one pinned thread owns: its ring, timers, lanes, ready coroutines, memory
// and random numbers. All of it belongs to the thread and is used without locks; Core::current()
// finds it from anywhere. Work never migrates to another core: work for another core is a message
// (runtime/lanes.hpp, submit_to).

#include <array>
#include <coroutine>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "runtime/cancel.hpp"
#include "runtime/frame_pool.hpp"
#include "runtime/histogram.hpp"
#include "runtime/lanes.hpp"
#include "runtime/memory_account.hpp"
#include "runtime/operation.hpp"
#include "runtime/random.hpp"
#include "runtime/ring.hpp"
#include "runtime/slab.hpp"
#include "runtime/stall_monitor.hpp"
#include "runtime/timer_heap.hpp"
#include "runtime/types.hpp"

namespace corelane::runtime {

class Core;
class Runtime;

// Names a coroutine that waits for an answer: see runtime/reply.hpp.
struct ReplyName {
  CoreId core = kNoCore;
  std::uint32_t slot = 0;
  std::uint32_t generation = 0;
  friend bool operator==(const ReplyName&, const ReplyName&) = default;
};

namespace detail {
struct ReplyWaiterBase {
  const void* type;
};

// A function that another core or thread runs for this core, in memory that outlives the awaiting
// coroutine. It comes back to this core. A core that ends, when nothing runs any more, destroys the
// errands that have not come back.
class Errand {
 public:
  Errand(const Errand&) = delete;
  Errand& operator=(const Errand&) = delete;

 protected:
  Errand() = default;
  virtual ~Errand() = default;

  virtual void destroy() noexcept = 0;

 private:
  friend class runtime::Core;
  Errand* next_ = nullptr;
  Errand** previous_ = nullptr;  // the link that points to this
};
}  // namespace detail

// Something that a core owns from its first use to the core's end: a network, for example. On its
// core.
class CoreResident {
 public:
  CoreResident() = default;
  CoreResident(const CoreResident&) = delete;
  CoreResident& operator=(const CoreResident&) = delete;
  virtual ~CoreResident() = default;

  // The core stops: begin to end. Once.
  virtual void begin_stop() noexcept = 0;
  // True when it may be destroyed. The core goes on until it is.
  virtual bool at_rest() const noexcept = 0;
};

// Called at the end of each turn in which it was requested, in order of phase.
enum class FlushPhase : std::uint8_t {
  services,  // build what is to be sent (pub/sub runs)
  streams,   // one send operation a connection
};
inline constexpr std::size_t kFlushPhases = 2;

class Core {
 public:
  struct Options {
    CoreId id = 0;
    std::uint64_t seed = 0;               // of random(); 0 takes the ring's entropy
    Nanoseconds lane_poll = 0;            // how long to poll the lanes before sleeping
    std::uint32_t completions_max = 256;  // taken from the ring in one turn
    std::size_t memory_bytes_max = 0;     // the budget of memory(); 0: none
  };
  Core(Runtime& runtime, LaneMatrix& lanes, std::unique_ptr<Ring> ring, const Options& options);
  ~Core();
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  // The core this thread is running as; there is one inside every handler, coroutine and callback.
  static Core& current() noexcept;
  static Core* current_or_null() noexcept;

  CoreId id() const noexcept { return options_.id; }
  CoreId cores() const noexcept;
  Runtime& runtime() noexcept { return runtime_; }
  Ring& ring() noexcept { return *ring_; }
  Lanes& lanes() noexcept { return lanes_; }
  const Lanes& lanes() const noexcept { return lanes_; }
  TimerHeap& timers() noexcept { return timers_; }
  Operations& operations() noexcept { return operations_; }
  const FramePool& frame_pool() const noexcept { return frame_pool_; }
  std::size_t ready_count() const noexcept { return ready_.size(); }
  Random& random() noexcept { return random_; }

  // The time at which the turn began: one clock read serves all of it.
  Nanoseconds now() const noexcept { return now_; }
  // Completions up to this time have all been taken. An operation that was begun before it and is
  // still in flight has not completed in between, however long this core was descheduled.
  Nanoseconds reaped_until() const noexcept { return reaped_until_; }
  // False if this turn may have left completions for the next one: a turn takes a bounded number.
  bool reaped_all() const noexcept { return reaped_all_; }
  // Nanoseconds since the epoch, as coarse as now().
  std::uint64_t wall_now() const noexcept {
    return static_cast<std::uint64_t>(wall_offset_ + now_);
  }

  // Puts a suspended coroutine on the ready queue: the loop resumes it, in this turn or the next.
  // `name` is what a stall report calls it; it must live as long as the program (a literal).
  void schedule(std::coroutine_handle<> handle, const char* name) {
    ready_.push_back({handle, name});
  }

  // Sets the handler of completions of this kind: once for each kind, before its first operation.
  using SinkFunction = void (*)(void* context, const Completion& completion) noexcept;
  void set_sink(Sink sink, SinkFunction function, void* context, const char* name) noexcept;
  // Instead of set_sink: a handler that takes a row of consecutive completions of this kind in one
  // call. The row is one step for the stall monitor, so each completion must be short work.
  using RowFunction = void (*)(void* context, std::span<const Completion> row) noexcept;
  void set_row_sink(Sink sink, RowFunction function, void* context, const char* name) noexcept;

  // Where the per-core instance of a service is found from anywhere on the core. Slots, below
  // kServicesMax, are given out by the layer that has the services (services/local.hpp).
  static constexpr std::size_t kServicesMax = 32;
  // One more, of the layer between this one and the services.
  static constexpr std::size_t kResidentSlot = kServicesMax;
  void set_service(std::size_t slot, void* instance) noexcept {
    RT_ASSERT(slot < services_.size());
    services_[slot] = instance;
  }
  void* service(std::size_t slot) const noexcept {
    RT_DEBUG_ASSERT(slot < services_.size());
    return services_[slot];
  }

  // What the core owns. The first to be adopted is destroyed last.
  void adopt(std::unique_ptr<CoreResident> resident);
  // Destroys one before the core's end; it is at rest.
  void evict(const CoreResident& resident) noexcept;

  // Waits for answers (runtime/reply.hpp). A name is used up by either of the last two.
  ReplyName await_reply(detail::ReplyWaiterBase& waiter) noexcept {
    const auto made = replies_.emplace(&waiter);
    return {.core = id(), .slot = made.id.slot, .generation = made.id.generation};
  }
  detail::ReplyWaiterBase* take_reply(const ReplyName& name) noexcept {
    RT_ASSERT(name.core == id());
    detail::ReplyWaiterBase** waiter = replies_.get(name.slot, name.generation);
    if (waiter == nullptr) return nullptr;
    detail::ReplyWaiterBase* taken = *waiter;
    replies_.erase(name.slot);
    return taken;
  }
  void forget_reply(const ReplyName& name) noexcept { replies_.erase(name.slot); }
  std::uint32_t replies_awaited() const noexcept { return replies_.count(); }

  // Errands of this core: added when sent, removed when they are back.
  void send_away(detail::Errand& errand) noexcept {
    errand.next_ = errands_;
    errand.previous_ = &errands_;
    if (errands_ != nullptr) errands_->previous_ = &errand.next_;
    errands_ = &errand;
  }
  void is_back(detail::Errand& errand) noexcept {
    *errand.previous_ = errand.next_;
    if (errand.next_ != nullptr) errand.next_->previous_ = errand.previous_;
  }
  // The scope of tasks that run here for other cores. It is cancelled when the core stops; the core
  // ends after these tasks.
  CancelScope& begin_for_other() noexcept {
    ++running_for_others_;
    return for_others_;
  }
  void end_for_other() noexcept { --running_for_others_; }
  // The parent of what has no other parent: from here lists of tasks find all. Never cancelled.
  CancelScope& task_roots() noexcept { return task_roots_; }

  // An exception has arrived where nobody could catch it (runtime/exception.hpp).
  void count_exception() noexcept { ++counters_.exceptions; }

  // Calls function(context) at the end of this turn, once however often it was requested.
  struct FlushHook {
    void (*function)(void* context) noexcept;
    void* context;
    bool requested = false;
  };
  void request_flush(FlushPhase phase, FlushHook& hook) {
    if (hook.requested) return;
    hook.requested = true;
    hooks_[static_cast<std::size_t>(phase)].push_back(&hook);
  }

  // The memory that this core holds for its peers. Its budget is the core's share of the runtime's.
  MemoryAccount& memory() noexcept { return memory_; }
  // Memory of SharedBytes that this core keeps, each block counted once: blocks of this core that
  // any core still holds, and blocks of other cores that this core holds.
  std::size_t shared_bytes() const noexcept { return memory_.held(MemoryKind::shared); }

  // While the lanes are held, the core takes no message from them (the current one still ends), and
  // other cores see full lanes. For a caller with more work than one turn allows. Calls nest: each
  // `true` needs its `false`.
  void hold_lanes(bool held) noexcept { lanes_.hold(held); }

  // --- For the driver of the core (Runtime, or the simulation's world)
  void turn() noexcept;
  // On this core: run() returns after this turn, or when all that it runs for others has ended and
  // its residents are at rest.
  void stop() noexcept;
  bool stopping() const noexcept { return stopping_; }
  // True when the core needs no more turns. Messages that wait for room in a lane must have left,
  // since one of them may be another core's stop; messages to a core that has ended are dropped.
  // The own lane is empty, and the lanes are not held.
  bool finished() const noexcept {
    return stopping_ && lanes_.at_rest() && running_for_others_ == 0 && residents_at_rest();
  }
  void run() noexcept;

  // Makes this core the current one of the calling thread while it lives.
  class Scope {
   public:
    explicit Scope(Core& core) noexcept;
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Core* previous_;
    FramePool* previous_pool_;
  };

  struct Counters {
    std::uint64_t turns = 0;
    std::uint64_t resumed = 0;     // coroutines taken from the ready queue
    std::uint64_t exceptions = 0;  // that nobody could catch: see runtime/exception.hpp
    std::uint64_t lane_polls = 0;  // times that the core polled its lanes before sleeping
  };
  const Counters& counters() const noexcept { return counters_; }
  // How long turns took, in nanoseconds, from the completions to the flush: without the system call
  // that sends and waits. One turn in kMeasuredEvery is measured (a reading of the clock takes as
  // long as a tenth of a short turn); stalls are all counted, by the stall monitor.
  static constexpr std::uint32_t kMeasuredEvery = 13;
  const Histogram& turn_times() const noexcept { return turn_times_; }
  CoreProgress& progress() noexcept { return progress_; }

 private:
  struct SinkEntry {
    SinkFunction function = nullptr;
    RowFunction row = nullptr;
    void* context = nullptr;
    const char* name = "";
  };
  struct Ready {
    std::coroutine_handle<> handle;
    const char* name;
  };

  void reap_completions() noexcept;
  void resume_ready() noexcept;
  void flush() noexcept;
  void wait() noexcept;
  bool poll_before_sleep(Nanoseconds until) noexcept;
  void refresh_clock() noexcept;
  [[gnu::cold, gnu::noinline]] void measure_turn() noexcept;
  // Ends the step that progress_.begin() began: a step that may have been long is measured.
  void end_step() noexcept;
  [[gnu::cold, gnu::noinline]] void end_long_step(std::uint64_t ticks) noexcept;
  void on_wake(const Completion& completion) noexcept;
  [[gnu::cold, gnu::noinline]] bool leave_if_finished() noexcept;
  bool residents_at_rest() const noexcept;
  void destroy_residents() noexcept;

  Options options_;
  Runtime& runtime_;
  FramePool frame_pool_;
  std::unique_ptr<Ring> ring_;
  Nanoseconds now_ = 0;
  Nanoseconds reaped_until_ = 0;
  Nanoseconds wall_offset_ = 0;
  Nanoseconds wall_checked_ = 0;
  Nanoseconds lanes_active_ = -kSecond;  // when a lane last brought something
  MemoryAccount memory_;
  bool stopping_ = false;
  bool reaped_all_ = true;
  Random random_;
  TimerHeap timers_;
  Operations operations_;
  Lanes lanes_;
  Slab<detail::ReplyWaiterBase*> replies_{UINT32_MAX};
  detail::Errand* errands_ = nullptr;
  CancelScope task_roots_{nullptr, "core"};
  CancelScope for_others_{&task_roots_, "submit_to"};
  std::size_t running_for_others_ = 0;
  std::vector<Ready> ready_;
  std::vector<Ready> resuming_;
  std::array<SinkEntry, kSinksMax> sinks_{};
  std::array<void*, kServicesMax + 1> services_{};
  std::vector<std::unique_ptr<CoreResident>> residents_;
  std::array<std::vector<FlushHook*>, kFlushPhases> hooks_;
  std::vector<FlushHook*> running_hooks_;
  std::vector<Completion> batch_;
  Counters counters_;
  std::uint64_t turn_ticks_ = 0;  // read_ticks() at now_
  std::uint64_t step_ticks_ = 0;  // and where the last step ended
  CoreProgress progress_;
  std::uint32_t until_measured_ = kMeasuredEvery;  // turns
  Histogram turn_times_;
};

}  // namespace corelane::runtime
