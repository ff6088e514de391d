#include "net/connect_race.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "runtime/combine.hpp"
#include "runtime/task_group.hpp"
#include "runtime/wait_queue.hpp"

namespace corelane::net {
namespace {

using runtime::Address;
using runtime::Error;
using runtime::ErrorCode;
using runtime::Result;
using runtime::Task;
using runtime::WaitQueue;

struct Race {
  explicit Race(Attempt how) : attempt(std::move(how)) {}

  void note(const Error& why) {
    ++failures;
    // `closed`: something was there and answered.
    const bool is_further = why.code == ErrorCode::closed;
    if (!error || is_further || error->code != ErrorCode::closed) error = why;
  }

  Attempt attempt;
  WaitQueue changed;
  std::size_t running = 0;
  std::size_t failures = 0;
  bool is_won = false;
  std::optional<Error> error;
};

Task<void> try_one(Race* race, Address address) {
  const auto result = co_await race->attempt(address);
  --race->running;
  if (result) {
    race->is_won = true;
  } else {
    race->note(result.error());
  }
  race->changed.wake_all(WaitQueue::Outcome::granted);
}

Task<Result<void>> until_changed(Race& race) {
  WaitQueue::Waiter waiter{race.changed};
  const WaitQueue::Outcome outcome = co_await waiter;
  if (outcome == WaitQueue::Outcome::cancelled) co_return runtime::fail(ErrorCode::cancelled);
  co_return Result<void>{};
}

// Begins one attempt after the other until one succeeds, or all have failed. False if cancelled.
Task<bool> run_attempts(Race& race, runtime::TaskGroup& group,
                        const std::vector<Address>& addresses, runtime::Nanoseconds delay) {
  for (const Address& address : addresses) {
    const std::size_t failures = race.failures;
    ++race.running;
    group.spawn("connect", try_one, &race, address);
    // With the last one begun, there is nothing but their ends to wait for.
    const bool is_last = &address == &addresses.back();
    while (!race.is_won && race.running > 0 && (is_last || race.failures == failures)) {
      if (is_last) {
        const auto changed = co_await until_changed(race);
        if (!changed) co_return false;
        continue;
      }
      const auto changed = co_await runtime::with_timeout(delay, until_changed(race));
      if (changed) continue;
      if (changed.error().code == ErrorCode::timed_out) break;
      co_return false;
    }
    if (race.is_won) break;
  }
  co_return true;
}

}  // namespace

std::vector<Address> interleave_families(const std::vector<Address>& addresses) {
  std::vector<Address> first;
  std::vector<Address> other;
  for (const Address& address : addresses) {
    auto& list = address.family() == addresses.front().family() ? first : other;
    const bool is_known = std::any_of(
        list.begin(), list.end(), [&](const Address& one) { return one.text() == address.text(); });
    if (!is_known) list.push_back(address);
  }
  std::vector<Address> all;
  for (std::size_t i = 0; i < std::max(first.size(), other.size()); ++i) {
    if (i < first.size()) all.push_back(first[i]);
    if (i < other.size()) all.push_back(other[i]);
  }
  return all;
}

Task<Result<void>> race(std::vector<Address> addresses, Attempt attempt,
                        runtime::Nanoseconds delay) {
  RT_ASSERT(!addresses.empty());
  Race state(std::move(attempt));
  runtime::TaskGroup group("connect");
  const bool is_done = co_await run_attempts(state, group, addresses, delay);
  group.cancel();
  co_await group.join();
  if (state.is_won) co_return Result<void>{};
  if (!is_done) co_return runtime::fail(ErrorCode::cancelled);
  co_return runtime::Unexpected{*state.error};
}

}  // namespace corelane::net
