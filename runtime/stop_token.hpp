#pragma once
// Between cancel scopes, which belong to a core, and std::stop_token, which any thread may use.
//
//   // A function on a thread of the pool learns that its result is not wanted any more:
//   StopOnCancel stop(co_await this_task::scope());
//   auto function = [token = stop.token()] { return compress(token); };   // named: g++ 12
//   co_await blocking(std::move(function));
//
//   // A thread of the program's ends a group:
//   CancelOnStop cancel(group.scope(), thread.get_stop_token());

#include <memory>
#include <stop_token>
#include <utility>
#include <variant>

#include "runtime/cancel.hpp"
#include "runtime/core.hpp"
#include "runtime/inbox.hpp"
#include "runtime/reply.hpp"
#include "runtime/runtime.hpp"
#include "runtime/this_task.hpp"

namespace corelane::runtime {

// A stop_token that is asked to stop when the scope is cancelled, while this lives. It belongs to
// the scope's core; tokens may be copied to any thread, and outlive it. Allocates (std::stop_source
// does).
class StopOnCancel {
 public:
  explicit StopOnCancel(CancelScope& scope) : registration_(scope, Request{&source_}) {}
  StopOnCancel(const StopOnCancel&) = delete;
  StopOnCancel& operator=(const StopOnCancel&) = delete;

  std::stop_token token() const noexcept { return source_.get_token(); }

 private:
  struct Request {
    std::stop_source* source;
    void operator()() const noexcept { source->request_stop(); }
  };
  std::stop_source source_;
  OnCancel<Request> registration_;
};

// Cancels a scope when a stop_token is asked to stop, while this lives. It is made and destroyed on
// the scope's core. A request from that core cancels at once, and one from another thread through
// the core's inbox, a turn later. The message is allocated beforehand, and kPostedMax does not
// limit it: no request is lost.
class CancelOnStop final : private detail::ReplyWaiter<std::monostate> {
 public:
  CancelOnStop(CancelScope& scope, std::stop_token token)
      : scope_(scope),
        name_(Core::current().await_reply(*this)),
        message_(std::make_unique<Message>(name_)),
        callback_(std::move(token), Request{*this, Core::current().runtime()}) {}
  ~CancelOnStop() {
    // A request that is on its way finds the name gone.
    if (!is_taken_) Core::current().forget_reply(name_);
  }
  CancelOnStop(const CancelOnStop&) = delete;
  CancelOnStop& operator=(const CancelOnStop&) = delete;

 private:
  class Message final : public Posted {
   public:
    explicit Message(const ReplyName& to) noexcept : to_(to) {}
    void run() noexcept override {
      give(to_, std::monostate{});
      delete this;
    }
    void drop() noexcept override { delete this; }

   private:
    ReplyName to_;
  };
  // The destructor of callback_ waits for a request that another thread is just making.
  class Request {
   public:
    Request(CancelOnStop& owner, Runtime& runtime) noexcept : owner_(owner), runtime_(runtime) {}
    void operator()() const noexcept {
      const ReplyName& name = owner_.name_;
      Core* const core = Core::current_or_null();
      if (core != nullptr && core->id() == name.core && &core->runtime() == &runtime_) {
        give(name, std::monostate{});
      } else {
        // Released first: the core may run and delete it at once.
        Message* const message = owner_.message_.release();
        if (!runtime_.inbox(name.core).push(*message)) message->drop();
      }
    }

   private:
    CancelOnStop& owner_;
    Runtime& runtime_;
  };
  void take(std::monostate&&) noexcept override {
    is_taken_ = true;
    scope_.cancel();
  }

  CancelScope& scope_;
  bool is_taken_ = false;
  ReplyName name_;
  std::unique_ptr<Message> message_;  // until it is sent
  std::stop_callback<Request> callback_;
};

}  // namespace corelane::runtime
