#pragma once
// Cancellation: a request that is passed down, from a group to its tasks and from a task to what it
// awaits. It never destroys anything: an operation that is asked to stop still ends by its own
// completion, with ErrorCode::cancelled. Belongs to one core; destroyed only when nobody listens.

#include <cstdint>

#include "runtime/assert.hpp"
#include "runtime/task_wait.hpp"

namespace corelane::runtime {

class CancelScope;

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
  // For lists of tasks, at the time `now`. False: it is no wait, but a function to be called, say.
  virtual bool describe_wait(Nanoseconds now, TaskWait& wait) const noexcept;
  // A listener that is itself a scope.
  virtual const CancelScope* as_scope() const noexcept { return nullptr; }
  // It stays linked when it has been told, so that lists show it to its end.
  virtual bool outlasts_cancel() const noexcept { return false; }
  bool linked() const noexcept { return previous_ != nullptr; }
  void unlink() noexcept;

 private:
  friend class CancelScope;
  Cancellable* next_ = nullptr;
  Cancellable** previous_ = nullptr;  // the link that points to this
};

// What runs in a scope.
enum class ScopeKind : std::uint8_t {
  group,  // tasks, each in a scope of its own
  task,   // one task, from its root on
  part,   // a part of the task that the parent is of: what has a deadline, for example
};

// The context that tasks run in: whether they are asked to stop, and what they are called. A child
// scope is cancelled with its parent.
class CancelScope final : private Cancellable {
 public:
  explicit CancelScope(CancelScope* parent = nullptr, const char* name = "task",
                       ScopeKind kind = ScopeKind::group) noexcept;
  ~CancelScope();

  void cancel() noexcept;
  bool cancelled() const noexcept { return cancelled_; }
  const char* name() const noexcept { return name_; }
  ScopeKind kind() const noexcept { return kind_; }
  bool has_parent() const noexcept { return linked(); }
  // Makes it a child of `parent`, until detach(): it has no parent. Cancelled at once if `parent`
  // is.
  void attach(CancelScope& parent) noexcept;
  void detach() noexcept { unlink(); }
  // Listens until unlink(); asserts that the scope is not cancelled yet.
  void add(Cancellable& listener) noexcept;
  // The same for one that nothing is to be told, also in a scope that is cancelled: lists show it.
  void watch(Cancellable& listener) noexcept;

  // --- For lists of tasks: what is linked, the newest first, while the function returns true
  struct Child {
    const CancelScope* scope;  // or
    const Cancellable* wait;
  };
  template <class Function>
  void for_each(Function function) const {
    for (const Cancellable* one = first_; one != nullptr; one = one->next_) {
      if (!function(Child{.scope = one->as_scope(), .wait = one})) return;
    }
  }
  static bool describe(const Cancellable& listener, Nanoseconds now, TaskWait& wait) noexcept {
    return listener.describe_wait(now, wait);
  }
  // What is linked is linked no more: the core that holds the tree of tasks ends.
  void forget_all() noexcept;

 private:
  void on_cancel() noexcept override { cancel(); }
  const CancelScope* as_scope() const noexcept override { return this; }
  bool outlasts_cancel() const noexcept override { return true; }

  const char* name_;
  Cancellable* first_ = nullptr;
  bool cancelled_ = false;
  ScopeKind kind_;
};

}  // namespace corelane::runtime
