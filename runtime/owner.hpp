#pragma once
// OwnerCheck: a member of an object that belongs to one core. In a debug build it ends the process,
// with a hint, when another core uses the object: without it that is a data race, which shows as
// something else, later. In a release build it checks nothing.
//
// The owner is the first core that uses the object, so an object may be made outside of any core,
// or by a core for another one. A thread that runs as no core may use it until it has an owner.

#include "runtime/core.hpp"
#include "runtime/types.hpp"

namespace corelane::runtime {

namespace detail {

// Prints "a Channel of core 0 is used on core 1: ..." and aborts. `user`: kNoCore for a thread that
// runs as no core.
[[noreturn, gnu::cold, gnu::noinline]] void used_on_another_core(const char* what, CoreId owner,
                                                                 CoreId user) noexcept;

}  // namespace detail

class OwnerCheck {
 public:
  // `what` is a literal: the name of the class.
  void check([[maybe_unused]] const char* what) const noexcept {
#ifndef NDEBUG
    const Core* const core = Core::current_or_null();
    const CoreId user = core != nullptr ? core->id() : kNoCore;
    if (owner_ == kNoCore) owner_ = user;
    if (owner_ != user) [[unlikely]]
      detail::used_on_another_core(what, owner_, user);
#endif
  }

 private:
  // Also in release builds, so that a program and an installed library agree about the layout.
  [[maybe_unused]] mutable CoreId owner_ = kNoCore;
};

}  // namespace corelane::runtime
