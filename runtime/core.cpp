#include "runtime/core.hpp"

#include <utility>
#include <vector>

#include "runtime/cpu.hpp"
#include "runtime/runtime.hpp"

namespace corelane::runtime {
namespace {

constexpr std::size_t kTimersMax = 1024;                     // fired in one turn
constexpr Nanoseconds kBacklogRetry = 20 * kMicrosecond;     // a full lane is tried again then
constexpr Nanoseconds kWallCheckEvery = 100 * kMillisecond;  // how stale wall_now() may be
constexpr Nanoseconds kLanePollWindow = 1 * kMillisecond;    // poll only after recent traffic

}  // namespace

Core::Core(Runtime& runtime, LaneMatrix& lanes, std::unique_ptr<Ring> ring, const Options& options)
    : options_(options),
      runtime_(runtime),
      ring_(std::move(ring)),
      memory_(options.memory_bytes_max),
      random_(options.seed != 0 ? options.seed + options.id : ring_->entropy()),
      lanes_(lanes, options.id, *ring_),
      batch_(options.completions_max) {
  refresh_clock();
  set_sink(
      Sink::operation,
      [](void* context, const Completion& completion) noexcept {
        static_cast<Operations*>(context)->complete(completion);
      },
      &operations_, "operation");
  set_sink(Sink::ignore, [](void*, const Completion&) noexcept {}, nullptr, "ignore");
  set_sink(
      Sink::wake,
      [](void* context, const Completion& completion) noexcept {
        static_cast<Core*>(context)->on_wake(completion);
      },
      this, "wake");
  runtime.inbox(options.id).open(ring_->take_bell());
}

Core::~Core() {
  RT_ASSERT(ready_.empty());
  destroy_residents();
  for (const auto& hooks : hooks_) RT_ASSERT(hooks.empty());
  while (errands_ != nullptr) {
    detail::Errand& errand = *errands_;
    is_back(errand);
    errand.destroy();
  }
  // A group that outlives its core is empty.
  task_roots_.forget_all();
}

CoreId Core::cores() const noexcept {
  return runtime_.cores();
}

void Core::set_sink(Sink sink, SinkFunction function, void* context, const char* name) noexcept {
  sinks_[static_cast<std::size_t>(sink)] = {function, nullptr, context, name};
}

void Core::set_row_sink(Sink sink, RowFunction function, void* context, const char* name) noexcept {
  sinks_[static_cast<std::size_t>(sink)] = {nullptr, function, context, name};
}

void Core::adopt(std::unique_ptr<CoreResident> resident) {
  residents_.push_back(std::move(resident));
  if (stopping_) residents_.back()->begin_stop();
}

void Core::evict(const CoreResident& resident) noexcept {
  RT_ASSERT(resident.at_rest());
  std::erase_if(residents_, [&](const auto& one) { return one.get() == &resident; });
}

bool Core::residents_at_rest() const noexcept {
  for (const auto& resident : residents_) {
    if (!resident->at_rest()) return false;
  }
  return true;
}

// As on the core: in the destructor of a core the thread is none any more.
void Core::destroy_residents() noexcept {
  const Scope scope(*this);
  while (!residents_.empty()) residents_.pop_back();
}

void Core::stop() noexcept {
  stopping_ = true;
  for_others_.cancel();
  for (const auto& resident : residents_) resident->begin_stop();
}

void Core::run() noexcept {
  while (!finished()) turn();
}

// A lane has something, which the turn looks for anyway, or a thread that is no core has rung.
void Core::on_wake(const Completion& completion) noexcept {
  runtime_.inbox(id()).run();
  if (completion.token.slot() == Ring::kBellSlot && !completion.more) ring_->arm_bell();
}

// The loop. One turn, in this order:
//   1. Reap completions first: they make the work of the turn. Handlers of streams run here, as
//      plain functions.
//   2. Timers: after completions, so that an answer that came just in time beats its deadline.
//   3. Lanes in: requests of other cores; our answers leave in step 5 of this turn.
//   4. Ready coroutines, made ready by steps 1 to 3. A coroutine that becomes ready in this step
//      waits for the next turn.
//   5. Flush: one send per stream, one batch per lane; last, so that all output of the turn leaves
//      together. Before the flush, while the core holds too much memory, some of the connections
//      that hold most are ended.
//   6. One io_uring_enter that submits everything and waits, if there is nothing left to do.
// Every step is bounded, so that none starves the others.
void Core::turn() noexcept {
  lanes_.awake();
  const Nanoseconds last_turn = now_;
  refresh_clock();
  ++counters_.turns;
  reap_completions();
  if (reaped_all_) reaped_until_ = last_turn;
  if (timers_.next_deadline() <= now_) {
    progress_.begin("timers");
    timers_.fire_due(now_, kTimersMax);
    end_step();
  }
  progress_.begin("lanes");
  if (lanes_.receive() != 0) {
    lanes_active_ = now_;
    end_step();
  }
  resume_ready();
  progress_.begin("flush");
  flush();
  end_step();
  if (--until_measured_ == 0) measure_turn();
  wait();
}

void Core::measure_turn() noexcept {
  until_measured_ = kMeasuredEvery;
  turn_times_.record(static_cast<std::uint64_t>(ring_->now() - now_));
}

bool Core::leave_if_finished() noexcept {
  if (!finished()) return false;
  destroy_residents();
  lanes_.leave();
  runtime_.inbox(id()).close();
  return true;
}

void Core::reap_completions() noexcept {
  const std::size_t count = ring_->reap(batch_);
  reaped_all_ = count < batch_.size();
  const std::span<const Completion> reaped{batch_.data(), count};
  for (std::size_t i = 0; i < count;) {
    const Sink kind = reaped[i].token.sink();
    const SinkEntry& sink = sinks_[static_cast<std::size_t>(kind)];
    progress_.begin(sink.name);
    if (sink.row == nullptr) {
      RT_DEBUG_ASSERT(sink.function != nullptr);
      sink.function(sink.context, reaped[i++]);
    } else {
      // A fan-out brings hundreds of completed sends in a row, some ns each, and reading the time
      // stamp counter takes 8 to 11 ns: a row of them is one step.
      const std::size_t begin = i;
      while (i < count && reaped[i].token.sink() == kind) ++i;
      sink.row(sink.context, reaped.subspan(begin, i - begin));
    }
    end_step();
  }
}

void Core::resume_ready() noexcept {
  if (ready_.empty()) return;
  resuming_.swap(ready_);
  for (const Ready& entry : resuming_) {
    progress_.begin(entry.name);
    entry.handle.resume();
    end_step();
  }
  counters_.resumed += resuming_.size();
  resuming_.clear();
}

void Core::flush() noexcept {
  if (memory_.is_over()) [[unlikely]]
    memory_.relieve();
  // A hook may request others, also of an earlier phase: they run in this turn too.
  for (std::size_t phase = 0; phase < kFlushPhases;) {
    if (hooks_[phase].empty()) {
      ++phase;
      continue;
    }
    running_hooks_.swap(hooks_[phase]);
    for (FlushHook* hook : running_hooks_) {
      hook->requested = false;
      hook->function(hook->context);
    }
    running_hooks_.clear();
    phase = 0;
  }
  lanes_.flush();
}

void Core::wait() noexcept {
  Nanoseconds deadline = timers_.next_deadline();
  if (lanes_.backlogged() && deadline > now_ + kBacklogRetry) deadline = now_ + kBacklogRetry;
  if (!ready_.empty() || (stopping_ && leave_if_finished())) deadline = 0;
  if (deadline != 0 && options_.lane_poll != 0 && now_ - lanes_active_ < kLanePollWindow) {
    if (poll_before_sleep(deadline)) deadline = 0;
  }
  if (deadline == 0) {
    ring_->wait(0);
    return;
  }
  lanes_.going_to_sleep();
  if (lanes_.anything_to_receive()) {
    ring_->wait(0);
    return;
  }
  progress_.asleep();
  ring_->wait(deadline);
  progress_.awake();
}

// A core that has just exchanged messages will get the answer sooner than a wake-up takes (17 to
// 30 us on a virtual machine, against 65 ns for a lane between running cores).
bool Core::poll_before_sleep(Nanoseconds until) noexcept {
  ++counters_.lane_polls;
  ring_->wait(0);  // what this turn prepared must not wait for the end of the polling
  Nanoseconds stop = ring_->now() + options_.lane_poll;
  if (stop > until) stop = until;
  for (;;) {
    if (lanes_.anything_to_receive() || ring_->has_work()) return true;
    for (int i = 0; i < 16; ++i) relax_cpu();
    if (ring_->now() >= stop) return false;
  }
}

void Core::end_step() noexcept {
  const std::uint64_t ticks = read_ticks();
  // A step with fewer ticks is shorter than any stall threshold worth having. Reading the clock
  // takes 20 ns, the counter 8 ns.
  if (ticks - step_ticks_ >= ticks_of_some_ms()) [[unlikely]]
    end_long_step(ticks);
  step_ticks_ = ticks;
}

// The turn's own clock readings tell how long a tick is.
void Core::end_long_step(std::uint64_t ticks) noexcept {
  const double share =
      static_cast<double>(ticks - step_ticks_) / static_cast<double>(ticks - turn_ticks_);
  const auto turn = static_cast<double>(ring_->now() - now_);
  progress_.finished(static_cast<Nanoseconds>(turn * share));
}

void Core::refresh_clock() noexcept {
  now_ = ring_->now();
  turn_ticks_ = step_ticks_ = read_ticks();
  if (wall_checked_ == 0 || now_ - wall_checked_ > kWallCheckEvery) {
    wall_checked_ = now_;
    wall_offset_ = ring_->wall_now() - now_;
  }
}

}  // namespace corelane::runtime
