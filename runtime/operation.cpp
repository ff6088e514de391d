#include "runtime/operation.hpp"

#include <utility>

#include "runtime/assert.hpp"

namespace corelane::runtime {

Operations::~Operations() {
  RT_ASSERT(in_flight_ == 0);
}

Token Operations::acquire(Waiter& waiter) {
  if (first_free_ == kNone) {
    slots_.push_back({.waiter = nullptr, .generation = 0, .next_free = kNone});
    first_free_ = static_cast<std::uint32_t>(slots_.size() - 1);
  }
  const std::uint32_t index = first_free_;
  Slot& slot = slots_[index];
  first_free_ = slot.next_free;
  slot.waiter = &waiter;
  ++in_flight_;
  return Token::make(Sink::operation, index, slot.generation);
}

void Operations::complete(const Completion& completion) noexcept {
  const std::uint32_t index = completion.token.slot();
  RT_ASSERT(index < slots_.size());
  Slot& slot = slots_[index];
  // Every operation here is one-shot: a second completion for a slot is a bug of the ring.
  RT_ASSERT(!completion.more);
  RT_ASSERT(slot.waiter != nullptr);
  RT_ASSERT((slot.generation & Token::kGenerationMask) == completion.token.generation());
  Waiter* waiter = std::exchange(slot.waiter, nullptr);
  ++slot.generation;
  slot.next_free = first_free_;
  first_free_ = index;
  RT_ASSERT(in_flight_ > 0);
  --in_flight_;
  waiter->complete(completion);
}

}  // namespace corelane::runtime
