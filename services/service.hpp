#pragma once
// The interface between a node and a service. A service has one instance a core, made, used and
// destroyed there. The node has a list of services (services/node/services.hpp). Requests go to the
// functions of its opcode rows, which find the instance by local() (services/local.hpp).
//
//   made on each core, in the order of the list (its options hold their settings by then)
//   add_routes()     all of the core's services are made
//   drain()          no more connections are let in
//   session_opened(), session_ended()   for each session of the core that begins and ends
//   stop()           all connections are gone; the last of the list first
//   destroyed, the last of the list first, when no core has a message on its way any more
//
// The constructor and add_routes() may throw, which ends the start: with exit code 2 for
// std::invalid_argument, and 1 otherwise. Services made before are destroyed, the last first. The
// other hooks must not throw. Only stop() may suspend.

#include <memory>
#include <span>
#include <string_view>

#include "net/http/responder.hpp"
#include "runtime/task.hpp"
#include "services/config/table.hpp"
#include "services/dispatch/opcode_table.hpp"
#include "services/metrics/rows.hpp"

namespace corelane::services {

class Session;
class Heartbeats;
struct NodeOptions;  // services/node/node.hpp

class Service {
 public:
  Service() = default;
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;
  virtual ~Service();

  // Adds its HTTP routes to those of the core, which it outlives.
  virtual void add_routes(net::http::Routes& routes);
  virtual void drain() noexcept;
  // For a service that has called Sessions::tell_opened. The session's connection does not know it
  // yet: nothing can be sent to it, nor can it be held or closed.
  virtual void session_opened(Session& session) noexcept;
  // For a service that has called Sessions::tell_ended. The session's memory is valid until this
  // returns; nothing can be sent to it any more.
  virtual void session_ended(Session& session) noexcept;
  // Ends the service's tasks and waits for them. The node waits without a deadline.
  virtual runtime::Task<void> stop();
};

// The arguments for making a core's instance.
struct ServiceStart {
  const NodeOptions& node;
  const OpcodeTable& opcodes;
  const MetricTable& metrics;
  Heartbeats& heartbeats;
  const void* options;  // of the service
};

struct ServiceEntry {
  std::string_view name;  // in errors of the start: "service NAME: ..."; outlives the node
  std::span<const OpcodeRow> opcodes;
  std::unique_ptr<Service> (*make)(const ServiceStart& start);
  // Puts the rows of its settings into a table, bound to `options`; null: it has none. Without
  // effect if the program does not run the service.
  void (*add_settings)(config::SettingTable& table, void* options, bool has_effect) = nullptr;
  void* options = nullptr;
  std::span<const MetricRow> metrics = {};  // services/metrics/rows.hpp
};

template <class Options>
void add_settings_to(config::SettingTable& table, std::span<const config::Row<Options>> rows,
                     void* options, bool has_effect) {
  if (has_effect) {
    table.add(rows, *static_cast<Options*>(options));
  } else {
    table.add_without_effect(rows);
  }
}

// The metrics of a service's class; one without has none.
template <class S>
std::span<const MetricRow> metrics_of() noexcept {
  if constexpr (requires { S::metrics(); }) {
    return S::metrics();
  } else {
    return {};
  }
}

// The entry of a service with constructor S(const Options&), S::opcodes(), S::settings() and, if it
// has any, S::metrics(). `options` outlive it.
template <class S, class Options>
ServiceEntry service(std::string_view name, Options& options) {
  return {.name = name,
          .opcodes = S::opcodes(),
          .make = [](const ServiceStart& start) -> std::unique_ptr<Service> {
            return std::make_unique<S>(*static_cast<const Options*>(start.options));
          },
          .add_settings =
              [](config::SettingTable& table, void* to, bool has_effect) {
                add_settings_to<Options>(table, S::settings(), to, has_effect);
              },
          .options = &options,
          .metrics = metrics_of<S>()};
}

}  // namespace corelane::services
