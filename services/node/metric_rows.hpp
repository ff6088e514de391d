#pragma once
// The metrics of what no service has: connections, HTTP, WebSocket.

#include <span>

#include "services/metrics/rows.hpp"

namespace corelane::services {

std::span<const MetricRow> node_metrics() noexcept;

}  // namespace corelane::services
