#pragma once
// get_or_compute: a value of the cache that is computed when it is missing, once in the whole
// server: one of all who ask for it gets a lease (services/cache/leases.hpp) and runs the function,
// the others wait for the value.

#include <concepts>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "runtime/result.hpp"
#include "runtime/task.hpp"
#include "services/cache/cache.hpp"
#include "services/reply/reply.hpp"

namespace corelane::services {

// Of a get_or_compute().
struct CacheCompute {
  // How long to wait while others compute; then the result is key_missing.
  runtime::Nanoseconds wait = 10 * runtime::kSecond;
  // How long the function may take; then another one who waits computes as well.
  runtime::Nanoseconds hold = 10 * runtime::kSecond;
  // With less than this left, one who asks computes the value again, and the others still get it.
  runtime::Nanoseconds refresh = 0;
};

// Lets the lease go unless it was used: the function has failed, or was cancelled.
class CacheLeaseGuard {
 public:
  CacheLeaseGuard(std::string key, std::uint64_t lease) noexcept
      : key_(std::move(key)), lease_(lease) {}
  CacheLeaseGuard(const CacheLeaseGuard&) = delete;
  CacheLeaseGuard& operator=(const CacheLeaseGuard&) = delete;
  ~CacheLeaseGuard() {
    if (lease_ != 0) Cache::local().release(key_, lease_);
  }
  void used() noexcept { lease_ = 0; }

 private:
  const std::string key_;
  std::uint64_t lease_;
};

// `function()` returns Task<std::string>, or Task<Result<std::string>>, whose error is the result.
// Its exceptions leave get_or_compute(); in both cases another one who waits computes. The result
// has the value, or a code: key_missing if nobody has computed it within `how.wait`; key_invalid,
// payload_too_large, overloaded. Error: cancelled, or that of the function.
template <class Function>
runtime::Task<runtime::Result<CacheGot>> get_or_compute(std::string key, CacheLifetime lifetime,
                                                        Function function, CacheCompute how) {
  auto leased = co_await completion_of<CacheLeased>([&key, &how](const ReplyTo& to) {
    Cache::local().lease(key, {.wait = how.wait, .hold = how.hold, .refresh = how.refresh}, to);
  });
  if (!leased) co_return runtime::Unexpected{leased.error()};
  if (leased->lease == 0) co_return std::move(leased->got);
  CacheLeaseGuard guard(key, leased->lease);
  auto computed = co_await function();
  std::string value;
  if constexpr (std::is_same_v<decltype(computed), std::string>) {
    value = std::move(computed);
  } else {
    if (!computed) co_return runtime::Unexpected{computed.error()};
    value = std::move(*computed);
  }
  const CacheSetOptions options{.lifetime = lifetime, .lease = leased->lease};
  const auto stored = co_await completion_of<CacheStored>([&](const ReplyTo& to) {
    Cache::local().set(key, std::as_bytes(std::span{value}), options, to);
  });
  if (!stored) co_return runtime::Unexpected{stored.error()};
  CacheGot got;
  // A lease that is lost: the value is as good as when it was computed, but is not in the cache.
  if (stored->code != protocol::ErrorCode::lease_lost) got.code = stored->code;
  if (stored->code == protocol::ErrorCode::none) {
    guard.used();
    got.version = stored->version;
  }
  got.value = {runtime::SharedBytes::copy(std::as_bytes(std::span{value})), value.size()};
  co_return got;
}

}  // namespace corelane::services
