#include "runtime/cancel.hpp"

namespace corelane::runtime {

void Cancellable::unlink() noexcept {
  if (!linked()) return;
  *previous_ = next_;
  if (next_ != nullptr) next_->previous_ = previous_;
  next_ = nullptr;
  previous_ = nullptr;
}

CancelScope::CancelScope(CancelScope* parent, const char* name) noexcept : name_(name) {
  if (parent == nullptr) return;
  if (parent->cancelled()) {
    cancelled_ = true;
  } else {
    parent->add(*this);
  }
}

void CancelScope::attach(CancelScope& parent) noexcept {
  if (parent.cancelled()) {
    cancel();
  } else {
    parent.add(*this);
  }
}

CancelScope::~CancelScope() {
  RT_ASSERT(first_ == nullptr);
  unlink();
}

void CancelScope::add(Cancellable& listener) noexcept {
  RT_ASSERT(!cancelled_);
  RT_ASSERT(!listener.linked());
  listener.next_ = first_;
  if (first_ != nullptr) first_->previous_ = &listener.next_;
  listener.previous_ = &first_;
  first_ = &listener;
}

void CancelScope::cancel() noexcept {
  if (cancelled_) return;
  cancelled_ = true;
  // A listener may unlink others while it is told, so the first one is looked up again each time.
  while (first_ != nullptr) {
    Cancellable& listener = *first_;
    listener.unlink();
    listener.on_cancel();
  }
}

}  // namespace corelane::runtime
