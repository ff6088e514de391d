#include "runtime/cancel.hpp"

#include <utility>

namespace corelane::runtime {

void Cancellable::unlink() noexcept {
  if (!linked()) return;
  *previous_ = next_;
  if (next_ != nullptr) next_->previous_ = previous_;
  next_ = nullptr;
  previous_ = nullptr;
}

bool Cancellable::describe_wait(Nanoseconds, TaskWait&) const noexcept {
  return false;
}

CancelScope::CancelScope(CancelScope* parent, const char* name, ScopeKind kind) noexcept
    : name_(name), kind_(kind) {
  if (parent == nullptr) return;
  cancelled_ = parent->cancelled();
  parent->watch(*this);
}

void CancelScope::attach(CancelScope& parent) noexcept {
  parent.watch(*this);
  if (parent.cancelled()) cancel();
}

CancelScope::~CancelScope() {
  RT_ASSERT(first_ == nullptr);
  unlink();
}

void CancelScope::add(Cancellable& listener) noexcept {
  RT_ASSERT(!cancelled_);
  watch(listener);
}

void CancelScope::watch(Cancellable& listener) noexcept {
  RT_ASSERT(!listener.linked());
  listener.next_ = first_;
  if (first_ != nullptr) first_->previous_ = &listener.next_;
  listener.previous_ = &first_;
  first_ = &listener;
}

void CancelScope::cancel() noexcept {
  if (cancelled_) return;
  cancelled_ = true;
  Cancellable* untold = std::exchange(first_, nullptr);
  if (untold != nullptr) untold->previous_ = &untold;
  // A listener may unlink others while it is told, so the first one is looked up again each time.
  while (untold != nullptr) {
    Cancellable& listener = *untold;
    listener.unlink();
    if (listener.outlasts_cancel()) watch(listener);
    listener.on_cancel();
  }
}

void CancelScope::forget_all() noexcept {
  while (first_ != nullptr) first_->unlink();
}

}  // namespace corelane::runtime
