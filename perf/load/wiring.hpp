#pragma once
// One core with a network, for the time of one task: what every workload runs in.

#include <functional>

#include "net/network.hpp"
#include "perf/load/settings.hpp"
#include "runtime/result.hpp"
#include "runtime/task.hpp"

namespace corelane::perf {

// `body` runs on the core; when it has returned, `before_shutdown` is called and all connections
// are closed: what their handlers refer to must outlive this call. Errors: what `body` returns, and
// those of the ring.
using NetworkBody = std::function<runtime::Task<runtime::Result<void>>(net::Network&)>;
runtime::Result<void> run_with_network(const Settings& settings, const net::NetworkOptions& network,
                                       const NetworkBody& body,
                                       const std::function<void()>& before_shutdown);

}  // namespace corelane::perf
