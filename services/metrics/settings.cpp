// The settings of metrics.

#include "services/config/rows.hpp"
#include "services/metrics/metrics.hpp"

namespace corelane::services {
namespace {

constexpr config::Row<MetricsOptions> kSettings[] = {
    config::boolean<&MetricsOptions::names>(
        {"metrics", "names", "metrics-names"},
        "DashboardMetrics names the busiest channels, to every client that may ask"),
};

}  // namespace

std::span<const config::Row<MetricsOptions>> Metrics::settings() noexcept {
  return kSettings;
}

}  // namespace corelane::services
