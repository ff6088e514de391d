#pragma once
// Between cancel scopes, which belong to a core, and std::stop_token, which any thread may use.
//
//   // A function on a thread of the pool learns that nobody waits for it any more:
//   StopOnCancel stop(co_await this_task::scope());
//   co_await blocking([token = stop.token()] { return compress(token); });
//
//   // A thread of the program's ends a group:
//   CancelOnStop cancel(group.scope(), thread.get_stop_token());

#include <stop_token>
#include <utility>
#include <variant>

#include "runtime/cancel.hpp"
#include "runtime/core.hpp"
#include "runtime/post.hpp"
#include "runtime/reply.hpp"
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
// the scope's core. A request from that core cancels at once, and one from another thread by
// post(): a turn later, and not at all if kPostedMax functions wait there.
class CancelOnStop final : private detail::ReplyWaiter<std::monostate> {
 public:
  CancelOnStop(CancelScope& scope, std::stop_token token)
      : scope_(scope),
        name_(Core::current().await_reply(*this)),
        callback_(std::move(token), Request{&Core::current().runtime(), name_}) {}
  ~CancelOnStop() {
    // A request that is on its way finds the name gone.
    if (!is_taken_) Core::current().forget_reply(name_);
  }
  CancelOnStop(const CancelOnStop&) = delete;
  CancelOnStop& operator=(const CancelOnStop&) = delete;

 private:
  struct Request {
    Runtime* runtime;
    ReplyName name;
    void operator()() const noexcept {
      Core* const core = Core::current_or_null();
      if (core != nullptr && core->id() == name.core && &core->runtime() == runtime) {
        give(name, std::monostate{});
      } else {
        post(*runtime, name.core, [to = name] { give(to, std::monostate{}); });
      }
    }
  };
  void take(std::monostate&&) noexcept override {
    is_taken_ = true;
    scope_.cancel();
  }

  CancelScope& scope_;
  bool is_taken_ = false;
  ReplyName name_;
  std::stop_callback<Request> callback_;
};

}  // namespace corelane::runtime
