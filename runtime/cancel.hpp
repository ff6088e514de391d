#pragma once
// Cancellation: a request that is passed down, from a group to its tasks and from a task to what it
// awaits. It never destroys anything: an operation that is asked to stop still ends by its own
// completion, with ErrorCode::cancelled. Belongs to one core; destroyed only when nobody listens.

#include "runtime/assert.hpp"

namespace corelane::runtime {

// Something that can be asked to stop. Intrusive; registers with at most one scope at a time.
class Cancellable {
 public:
  Cancellable(const Cancellable&) = delete;
  Cancellable& operator=(const Cancellable&) = delete;

 protected:
  Cancellable() = default;
  ~Cancellable() { RT_ASSERT(!linked()); }
  // Called at most once, outside any other callback of the same object; it may unlink itself.
  virtual void on_cancel() noexcept = 0;
  bool linked() const noexcept { return previous_ != nullptr; }
  void unlink() noexcept;

 private:
  friend class CancelScope;
  Cancellable* next_ = nullptr;
  Cancellable** previous_ = nullptr;  // the link that points to this
};

// The context that tasks run in: whether they are asked to stop, and what they are called. A child
// scope is cancelled with its parent.
class CancelScope final : private Cancellable {
 public:
  explicit CancelScope(CancelScope* parent = nullptr, const char* name = "task") noexcept;
  ~CancelScope();

  void cancel() noexcept;
  bool cancelled() const noexcept { return cancelled_; }
  const char* name() const noexcept { return name_; }
  // Makes it a child of `parent`, until detach(): it has no parent. Cancelled at once if `parent`
  // is.
  void attach(CancelScope& parent) noexcept;
  void detach() noexcept { unlink(); }
  // Listens until unlink(); asserts that the scope is not cancelled yet.
  void add(Cancellable& listener) noexcept;

 private:
  void on_cancel() noexcept override { cancel(); }

  const char* name_;
  Cancellable* first_ = nullptr;
  bool cancelled_ = false;
};

}  // namespace corelane::runtime
