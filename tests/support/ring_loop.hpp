#pragma once
// RingLoop: a ring with the smallest loop around it, for tests of a ring without cores. Each
// operation's token names a handler; a turn takes what is there, calls the handlers and waits.
// A handler is forgotten at its final completion. Lives in one thread, made and destroyed while a
// simulated world exists.

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "runtime/ring.hpp"
#include "runtime/sim/world.hpp"

namespace corelane::tests {

class RingLoop {
 public:
  using Handler = std::function<void(const runtime::Completion&)>;

  explicit RingLoop(runtime::CoreId core, const runtime::RingOptions& options = {})
      : core_(core), ring_(std::move(*runtime::Ring::create(core, options))) {}

  runtime::Ring& ring() noexcept { return *ring_; }
  runtime::CoreId core() const noexcept { return core_; }

  // A token whose completions go to the handler.
  runtime::Token on(Handler handler) {
    std::uint32_t slot = static_cast<std::uint32_t>(handlers_.size());
    if (free_.empty()) {
      handlers_.emplace_back();
    } else {
      slot = free_.back();
      free_.pop_back();
    }
    handlers_[slot] = std::make_shared<Handler>(std::move(handler));
    return runtime::Token::make(runtime::Sink::operation, slot, 0);
  }

  void turn() {
    std::array<runtime::Completion, 16> batch;
    const std::size_t count = ring_->reap(batch);
    for (std::size_t i = 0; i < count; ++i) dispatch(batch[i]);
    // More may be there than the batch holds.
    ring_->wait(ring_->has_work() ? 0 : deadline);
  }

  std::size_t waiting() const noexcept { return handlers_.size() - free_.size(); }
  std::uint64_t wakes() const noexcept { return wakes_; }
  runtime::Nanoseconds deadline = runtime::kNever;  // of the next waits

  // Hands over what was prepared outside of turns, then turns the loops until `done`, which the
  // world looks at before each turn.
  static void run(std::vector<RingLoop*> loops, const std::function<bool()>& done) {
    std::vector<runtime::sim::World::Actor> actors;
    for (RingLoop* loop : loops) {
      loop->ring_->wait(loop->deadline);
      actors.push_back({.core = loop->core_, .turn = [loop] { loop->turn(); }, .finished = done});
    }
    runtime::sim::World::current()->drive(actors);
  }

 private:
  void dispatch(const runtime::Completion& completion) {
    if (completion.token.sink() == runtime::Sink::wake) ++wakes_;
    if (completion.token.sink() != runtime::Sink::operation) return;
    const std::uint32_t slot = completion.token.slot();
    ASSERT_LT(slot, handlers_.size());
    const std::shared_ptr<Handler> handler = handlers_[slot];
    ASSERT_TRUE(handler) << "a completion after the final one";
    if (!completion.more) {
      handlers_[slot].reset();
      free_.push_back(slot);
    }
    (*handler)(completion);
  }

  runtime::CoreId core_;
  std::unique_ptr<runtime::Ring> ring_;
  std::deque<std::shared_ptr<Handler>> handlers_;
  std::vector<std::uint32_t> free_;
  std::uint64_t wakes_ = 0;
};

}  // namespace corelane::tests
