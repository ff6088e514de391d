#include "services/node/services.hpp"

#include <algorithm>

#include "services/cache/cache.hpp"
#include "services/node/metric_rows.hpp"

namespace corelane::services {
namespace {

std::unique_ptr<Service> make_metrics(const ServiceStart& start) {
  return std::make_unique<Metrics>(start.node.metrics, start);
}

std::unique_ptr<Service> make_sessions(const ServiceStart& start) {
  return std::make_unique<Sessions>(share_of(start.node.connections_max),
                                    start.node.tcp.close_timeout, start.node.fan_out_max);
}

std::unique_ptr<Service> make_quota(const ServiceStart& start) {
  QuotaOptions options = start.node.quota;
  options.hash_seed = start.node.pubsub.hash_seed;
  return std::make_unique<Quota>(options);
}

std::unique_ptr<Service> make_dispatch(const ServiceStart& start) {
  return std::make_unique<Dispatch>(start.node.dispatch, start.opcodes);
}

}  // namespace

std::vector<ServiceEntry> services_of(NodeOptions& options) {
  std::vector<ServiceEntry> all{
      {.name = "metrics",
       .opcodes = Metrics::opcodes(),
       .make = make_metrics,
       .add_settings =
           [](config::SettingTable& table, void* to, bool has_effect) {
             add_settings_to<MetricsOptions>(table, Metrics::settings(), to, has_effect);
           },
       .options = &options.metrics,
       .metrics = Metrics::metrics()},
      {.name = "sessions",
       .opcodes = Sessions::opcodes(),
       .make = make_sessions,
       .metrics = Sessions::metrics()},
      service<PubSub>("pubsub", options.pubsub),
      service<Cache>("cache", options.cache),
      {.name = "dispatch",
       .opcodes = Dispatch::opcodes(),
       .make = make_dispatch,
       .add_settings =
           [](config::SettingTable& table, void* to, bool has_effect) {
             add_settings_to<DispatchOptions>(table, Dispatch::settings(), to, has_effect);
           },
       .options = &options.dispatch,
       .metrics = Dispatch::metrics()},
      {.name = "quota",
       .opcodes = Quota::opcodes(),
       .make = make_quota,
       .add_settings =
           [](config::SettingTable& table, void* to, bool has_effect) {
             add_settings_to<QuotaOptions>(table, Quota::settings(), to, has_effect);
           },
       .options = &options.quota},
  };
  all.insert(all.end(), options.services.begin(), options.services.end());
  return all;
}

NodePlan::NodePlan(NodeOptions with) : options(std::move(with)), services(services_of(options)) {
  for (const ServiceEntry& service : services) {
    for_service(service.name, [&] {
      opcodes.add(service.opcodes);
      metrics.add(service.metrics);
    });
  }
  metrics.add(node_metrics());
  if (options.handlers != nullptr) opcodes.add(*options.handlers);
  opcodes.set_gates(options.gates);
}

NodePlan::~NodePlan() = default;

}  // namespace corelane::services
