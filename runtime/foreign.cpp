#include "runtime/foreign.hpp"

#include <fmt/format.h>

#include "runtime/await.hpp"
#include "runtime/exception.hpp"
#include "runtime/inbox.hpp"
#include "runtime/log.hpp"
#include "runtime/sharded.hpp"
#include "runtime/submit.hpp"

namespace corelane::runtime {

ForeignAnswers::ForeignAnswers(Runtime& runtime, CoreId self)
    : runtime_(runtime), self_(self), outgoing_(runtime.cores()) {}

void ForeignAnswers::push(CoreId to, const LaneMessage& message) {
  RT_ASSERT(to < outgoing_.size());
  outgoing_[to].queue.push_back(message);
}

bool ForeignAnswers::flush() noexcept {
  bool all = true;
  for (CoreId to = 0; to < runtime_.cores(); ++to) {
    if (!outgoing_[to].queue.empty()) all = flush_to(to) && all;
  }
  return all;
}

bool ForeignAnswers::flush_to(CoreId to) noexcept {
  Outgoing& out = outgoing_[to];
  SpscRing<LaneMessage>& lane = runtime_.lanes().lane(self_, to);
  WakeWord& word = runtime_.lanes().word(to);
  out.sent += lane.push(std::span<const LaneMessage>{out.queue}.subspan(out.sent));
  // As in Lanes::wake_if_asleep, see the head of lanes.hpp.
  if (lane.publish() && word.sleeping.load(std::memory_order_seq_cst) != 0 &&
      word.sleeping.exchange(0, std::memory_order_seq_cst) != 0) {
    runtime_.inbox(to).ring();
  }
  // Relaxed: a core that has ended takes nothing, whenever that is seen.
  if (out.sent == out.queue.size() || word.gone.load(std::memory_order_relaxed)) {
    out.queue.clear();
    out.sent = 0;
  }
  return out.queue.empty();
}

std::size_t ForeignAnswers::waiting() const noexcept {
  std::size_t waiting = 0;
  for (const Outgoing& out : outgoing_) waiting += out.queue.size() - out.sent;
  return waiting;
}

namespace detail {
namespace {

constinit LogReason kEscaped("exceptions of threads");
constexpr Nanoseconds kSettleRetry = 20 * kMicrosecond;  // while a lane to a thread is full

}  // namespace

ForeignBase::~ForeignBase() {
  RT_ASSERT(!started());
}

// --- On the thread

std::size_t ForeignBase::drain() noexcept {
  std::size_t taken = 0;
  for (CoreId from = 0; from < runtime_->cores() && taken < kBatchMax; ++from) {
    SpscRing<LaneMessage>& lane = runtime_->lanes().lane(from, id_);
    while (taken < kBatchMax) {
      const std::span<LaneMessage> messages = lane.peek(kBatchMax - taken);
      if (messages.empty()) break;
      for (const LaneMessage& message : messages) take(from, message.body);
      lane.consume(messages.size());
      taken += messages.size();
    }
  }
  return taken;
}

ForeignBase::Step ForeignBase::step() noexcept {
  if (!answers_->flush()) return Step::waits_for_room;
  // Read before the lanes: what was sent before it is in them then.
  const bool stopping = stopping_.load(std::memory_order_acquire);  // Pairs with stop().
  if (drain() != 0) {
    try {
      handle(*answers_);
    } catch (...) {
      log_limited(kEscaped, LogLevel::error, [this] {
        return fmt::format("the handler of thread {} ended with an exception: {}", name_,
                           describe(std::current_exception()));
      });
    }
    answers_->flush();
    return Step::worked;
  }
  if (!stopping) return Step::idle;
  if (!said_stopped_) answers_->give<bool>(stopped_, true);
  said_stopped_ = true;
  // The core that waits for it takes from its lanes: there is room soon.
  return answers_->flush() ? Step::ended : Step::waits_for_room;
}

bool ForeignBase::going_to_sleep() noexcept {
  // seq_cst, as in Lanes::going_to_sleep: comes before the look at the tails.
  sleeping().store(1, std::memory_order_seq_cst);
  bool idle = !stopping_.load(std::memory_order_seq_cst);
  for (CoreId from = 0; from < runtime_->cores(); ++from) {
    idle = idle && runtime_->lanes().lane(from, id_).empty_seq_cst();
  }
  if (!idle) awake();
  return idle;
}

void ForeignBase::awake() noexcept {
  sleeping().store(0, std::memory_order_relaxed);  // One signal too many is harmless.
}

// --- On a core

Task<Result<void>> ForeignBase::start() {
  RT_ASSERT(!started());
  runtime_ = &Core::current().runtime();
  thread_ = make_foreign_thread(*this);
  const CoreId id = runtime_->lanes().connect_thread(thread_->waker());
  if (id == kNoCore) {
    thread_.reset();
    co_return fail(ErrorCode::limit_exceeded, runtime_->options().threads_max);
  }
  id_ = id;
  stopping_.store(false, std::memory_order_relaxed);  // The start of the thread orders it.
  said_stopped_ = false;
  answers_ = std::make_unique<ForeignAnswers>(*runtime_, id);
  const auto started = thread_->start(name_);
  if (!started) {
    runtime_->lanes().disconnect_thread(id);
    id_ = kNoCore;
    thread_.reset();
    co_return started;
  }
  co_await on_every_core([id] { Core::current().lanes().know(static_cast<CoreId>(id + 1)); });
  co_return Result<void>{};
}

Task<void> ForeignBase::stop() {
  RT_ASSERT(started());
  // The closures live until call_on() has its answer.
  //
  // NOLINTBEGIN(cppcoreguidelines-avoid-capturing-lambda-coroutines)

  // Messages that wait in front of a full lane go first.
  const auto settled = [id = id_]() -> Task<void> {
    while (Core::current().lanes().waiting_for(id) != 0) co_await sleep_for(kSettleRetry);
  };
  for (CoreId core = 0; core < runtime_->cores(); ++core) co_await call_on(core, settled);
  // Not given up: nothing else ends the thread.
  ForeignBase* const self = this;
  co_await call_on(Core::current().id(), [self]() -> Task<void> {
    const auto ended = co_await runtime::ask<bool>([self](ReplyName to) {
      self->stopped_ = to;
      // Release pairs with step(); seq_cst with going_to_sleep(): either it sees this, or the waker
      // below finds it asleep.
      self->stopping_.store(true, std::memory_order_seq_cst);
      if (self->sleeping().exchange(0, std::memory_order_seq_cst) != 0)
        self->thread_->waker().wake();
    });
    RT_ASSERT(ended);
  });
  // NOLINTEND(cppcoreguidelines-avoid-capturing-lambda-coroutines)
  thread_->join();
  thread_.reset();
  answers_.reset();
  runtime_->lanes().disconnect_thread(id_);
  id_ = kNoCore;
}

}  // namespace detail

}  // namespace corelane::runtime
