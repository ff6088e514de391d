#pragma once
// Operation slots: what connects a completion with the coroutine that waits for it. An awaiter
// takes a slot when it suspends and gives it back at the operation's final completion; until then
// the awaiter, and with it the memory that the kernel may touch, stays in the suspended frame. A
// cancel request does not end the wait: only the completion does (style: submitted -> waiting ->
// completed).

#include <cstdint>
#include <vector>

#include "runtime/ring.hpp"

namespace corelane::runtime {

class Operations {
 public:
  // Called with the final result on the core that owns the slot; the slot is free again already.
  struct Waiter {
    virtual void complete(const Completion& completion) noexcept = 0;

   protected:
    ~Waiter() = default;
  };

  ~Operations();
  Token acquire(Waiter& waiter);
  void complete(const Completion& completion) noexcept;
  std::uint32_t in_flight() const noexcept { return in_flight_; }

 private:
  struct Slot {
    Waiter* waiter = nullptr;
    std::uint32_t generation = 0;
    std::uint32_t next_free = 0;
  };
  static constexpr std::uint32_t kNone = UINT32_MAX;
  std::vector<Slot> slots_;
  std::uint32_t first_free_ = kNone;
  std::uint32_t in_flight_ = 0;
};

}  // namespace corelane::runtime
