#pragma once
// What the quotas have made of a request, for the handler that serves it (Request::quota_result).

#include <cstdint>

#include "runtime/types.hpp"

namespace corelane::services {

struct QuotaResult {
  enum class Outcome : std::uint8_t {
    unlimited,  // no limit applies
    passed,
    warned,    // a soft limit was exceeded
    delayed,   // a soft limit was exceeded: nothing more is read from the client for `wait`
    exceeded,  // a hard limit was exceeded; the server only counts (QuotaOptions::permissive)
  };
  Outcome outcome = Outcome::unlimited;
  runtime::Nanoseconds wait = 0;  // until there are tokens again, for the last three
  // Requests that are left now, by the limit of requests that has fewest; INT64_MAX: no such limit.
  std::int64_t left = INT64_MAX;
};

}  // namespace corelane::services
