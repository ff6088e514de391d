#pragma once
// A thread that is no core, behind lanes: for a store, an engine, a library that blocks. Each core
// has a lane to it and one back, as between cores: messages of a turn leave at its end, a running
// thread is never signalled, a full lane is backpressure (Lanes::congested) and never loss. The
// thread takes the waiting messages of all cores as one batch, which a store can commit at once.
//
//   struct Put { ReplyName answer_to; Row* row; };  // trivially copyable, at most 56 bytes
//   class Store {                                   // used only on that thread
//    public:
//     using Request = Put;
//     void handle(std::span<const Incoming<Put>> batch, ForeignAnswers& answers) {
//       ... one write batch ...
//       for (const auto& [from, put] : batch) answers.give<bool>(put.answer_to, true);
//     }
//   };
//
//   Foreign<Store> store("store", handler);
//   if (const auto started = co_await store.start(); !started) ...
//   auto stored = co_await with_timeout(kSecond, put_row(store, row));
//       // Task<Result<bool>>:
//       // co_return co_await store.ask<bool>([&](ReplyName to) { return Put{to, row}; });
//   co_await store.stop();
//
// A wait for an answer can be cancelled (runtime/reply.hpp); the request is still handled, so it
// must own the memory that it points to. The thread has no Core::current(); post() is another way
// from it to a core. An exception from `handle` is logged, and the thread goes on with the next
// batch. Unanswered requests of the batch stay unanswered, so their waits end at their deadlines.
//
// In a simulation the same handler is called as an event of the world, after the time of an
// operation. While its answers wait for room in a lane, the handler gets no new batch.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "runtime/core.hpp"
#include "runtime/lanes.hpp"
#include "runtime/reply.hpp"
#include "runtime/result.hpp"
#include "runtime/runtime.hpp"
#include "runtime/task.hpp"
#include "runtime/types.hpp"

namespace corelane::runtime {

// A request, and the core that sent it.
template <class Request>
struct Incoming {
  CoreId from;
  Request request;
};

// The thread's end of its lanes. What is sent leaves with flush(), and at the end of each handle().
class ForeignAnswers {
 public:
  ForeignAnswers(Runtime& runtime, CoreId self);

  // `body.deliver(thread)` is called on the core.
  template <LaneMessageBody Body>
  void send(CoreId to, const Body& body) {
    push(to, make_lane_message(body));
  }
  // The answer to an ask<T> on a core. A small T that is trivially copyable travels in the message,
  // another in memory that the core frees.
  template <class T>
  void give(const ReplyName& to, T answer) {
    if constexpr (std::is_trivially_copyable_v<T> && sizeof(Answer<T>) <= kLaneMessageBytes &&
                  alignof(T) <= 8) {
      send(to.core, Answer<T>{to, answer});
    } else {
      send(to.core, Boxed<T>{to, new T(std::move(answer))});
    }
  }
  // Publishes what was sent and wakes sleeping cores. False: a lane is full, and some wait for
  // room.
  bool flush() noexcept;
  std::size_t waiting() const noexcept;

 private:
  template <class T>
  struct Answer {
    ReplyName to;
    T value;
    void deliver(CoreId) const { runtime::give<T>(to, value); }
  };
  template <class T>
  struct Boxed {
    ReplyName to;
    T* value;
    void deliver(CoreId) const {
      const std::unique_ptr<T> owned(value);
      runtime::give<T>(to, std::move(*owned));
    }
  };
  struct Outgoing {
    std::vector<LaneMessage> queue;  // [sent, size) has not left
    std::size_t sent = 0;
  };
  void push(CoreId to, const LaneMessage& message);
  bool flush_to(CoreId to) noexcept;

  Runtime& runtime_;
  CoreId self_;
  std::vector<Outgoing> outgoing_;
};

namespace detail {

// The thread: the production one, or the simulation's actor. Its owner calls it on a core.
class ForeignThread {
 public:
  virtual ~ForeignThread() = default;
  ForeignThread(const ForeignThread&) = delete;
  ForeignThread& operator=(const ForeignThread&) = delete;

  virtual ThreadWaker& waker() noexcept = 0;
  // Error: the errno of the call that failed.
  virtual Result<void> start(const char* name) = 0;
  // Called when the thread takes no more messages: waits until it has ended.
  virtual void join() noexcept = 0;

 protected:
  ForeignThread() = default;
};

// The common part of both kinds of threads: one step of the thread, and its owner's side.
class ForeignBase {
 public:
  // Most requests that are taken from all cores at once.
  static constexpr std::size_t kBatchMax = 4096;

  ForeignBase(const ForeignBase&) = delete;
  ForeignBase& operator=(const ForeignBase&) = delete;

  // On any core; returns when all cores know the thread's lanes. Errors: an errno of the thread;
  // limit_exceeded: there are RuntimeOptions::threads_max already.
  Task<Result<void>> start();
  // Takes nothing more, and has handled what was sent before. It cannot be given up: a handler that
  // never returns never lets it end. Then, and not before, this may be destroyed, or started again.
  Task<void> stop();
  bool started() const noexcept { return id_ != kNoCore; }
  CoreId id() const noexcept { return id_; }  // the thread's number in lanes

  // --- On the thread
  enum class Step : std::uint8_t { worked, waits_for_room, idle, ended };
  Step step() noexcept;
  // After `idle`: the thread says that it sleeps. False: something has come.
  bool going_to_sleep() noexcept;
  void awake() noexcept;
  std::atomic<std::uint32_t>& sleeping() noexcept { return runtime_->lanes().word(id_).sleeping; }
  Runtime& runtime() noexcept { return *runtime_; }

 protected:
  explicit ForeignBase(const char* name) noexcept : name_(name) {}
  virtual ~ForeignBase();

  virtual void take(CoreId from, const std::byte* body) = 0;
  virtual void handle(ForeignAnswers& answers) = 0;

  const char* const name_;

 private:
  std::size_t drain() noexcept;

  Runtime* runtime_ = nullptr;
  CoreId id_ = kNoCore;
  std::unique_ptr<ForeignThread> thread_;
  std::unique_ptr<ForeignAnswers> answers_;
  // Stored by the core that stops it, when nothing is under way to it.
  std::atomic<bool> stopping_{false};
  ReplyName stopped_;  // written before stopping_
  bool said_stopped_ = false;
};

// Makes the thread of the production runtime, or of the simulation.
std::unique_ptr<ForeignThread> make_foreign_thread(ForeignBase& of);

}  // namespace detail

// A thread with a handler of this type, which outlives it. `name`: a literal of 15 letters at most,
// for `top` and reports.
template <class Handler>
class Foreign final : public detail::ForeignBase {
 public:
  using Request = typename Handler::Request;
  static_assert(std::is_trivially_copyable_v<Request> && sizeof(Request) <= kLaneMessageBytes &&
                    alignof(Request) <= 8,
                "a request is copied into a slot of a lane: let it point to what is larger");

  Foreign(const char* name, Handler& handler) noexcept : ForeignBase(name), handler_(handler) {}

  // On any core, between start() and stop(). Leaves at the end of the turn.
  void send(const Request& request) {
    LaneMessage message;
    message.deliver = nullptr;
    std::memcpy(message.body, static_cast<const void*>(&request), sizeof request);
    Core::current().lanes().push(id(), message);
  }
  // Sends make(ReplyName), a Request, and waits for the handler's give<T>(name, ...): Result<T>.
  template <class T, class Make>
  [[nodiscard]] auto ask(Make make) {
    return runtime::ask<T>([this, make = std::move(make)](ReplyName to) { send(make(to)); });
  }

 private:
  void take(CoreId from, const std::byte* body) override {
    Incoming<Request>& incoming = batch_.emplace_back();
    incoming.from = from;
    std::memcpy(static_cast<void*>(&incoming.request), body, sizeof(Request));
  }
  void handle(ForeignAnswers& answers) override {
    struct Clear {  // also if the handler throws
      explicit Clear(std::vector<Incoming<Request>>& batch) noexcept : batch_(batch) {}
      Clear(const Clear&) = delete;
      Clear& operator=(const Clear&) = delete;
      ~Clear() { batch_.clear(); }
      std::vector<Incoming<Request>>& batch_;
    };
    const Clear clear(batch_);
    handler_.handle(std::span<const Incoming<Request>>(batch_), answers);
  }

  Handler& handler_;
  std::vector<Incoming<Request>> batch_;
};

}  // namespace corelane::runtime
