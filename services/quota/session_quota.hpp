#pragma once
// SessionQuota: what Quota knows of one session: its limits, its shares of the limits of its
// address and principal, and the pause of a limit that delays. Belongs to the session's core.

#include <cstdint>

#include "runtime/timer_heap.hpp"
#include "services/quota/result.hpp"
#include "services/quota/share.hpp"
#include "services/quota/source.hpp"

namespace corelane::services {

class Session;

class SessionQuota {
 public:
  SessionQuota(Session& of, runtime::Timer::Fire end_delay) noexcept
      : session(of), delay(*this, end_delay) {}

  // The sources that have limits.
  template <class Visit>
  void for_each(const Visit& visit) {
    if (!own.lines().empty()) visit(static_cast<quota::Source&>(own));
    if (address != nullptr && !address->lines().empty())
      visit(static_cast<quota::Source&>(*address));
    if (principal != nullptr && !principal->lines().empty()) {
      visit(static_cast<quota::Source&>(*principal));
    }
  }

  // The timer of a pause; it finds its session's quota by `of`.
  struct Delay : runtime::Timer {
    Delay(SessionQuota& owner, Fire end) noexcept : Timer(end), of(owner) {}
    SessionQuota& of;
  };

  Session& session;
  std::uint32_t slot = 0;
  quota::OwnLimits own;
  quota::Share* address = nullptr;
  quota::Share* principal = nullptr;
  Delay delay;
  // Of the latest request that was looked at, if no credit was used since.
  QuotaResult result;
  std::int64_t requests_left = 0;
};

}  // namespace corelane::services
