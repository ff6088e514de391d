#include "services/node/settings.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>

#include "runtime/assert.hpp"
#include "runtime/host.hpp"
#include "runtime/pinning.hpp"
#include "services/config/answer.hpp"
#include "services/node/services.hpp"
#include "services/node/setting_rows.hpp"
#include "services/version.hpp"

namespace corelane::services {
namespace {

std::string host_name() {
  std::array<char, 65> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return "node";
  return name.data();
}

}  // namespace

std::uint64_t allowed_memory() {
  const runtime::HostFacts host = runtime::read_host_facts();
  const std::uint64_t limit = host.memory_limit_bytes;
  return limit == 0 ? host.memory_bytes : std::min(host.memory_bytes, limit);
}

std::uint64_t least_memory(std::uint64_t buffer_bytes, std::uint64_t cores) noexcept {
  constexpr std::uint64_t kRoomBytes = std::uint64_t{8} << 20;
  return cores * (2 * buffer_bytes + kRoomBytes);
}

std::uint64_t least_unfinished(std::uint64_t message_bytes_max, std::uint64_t body_bytes_max,
                               std::uint64_t cores) noexcept {
  constexpr std::uint64_t kMessages = 4;
  return cores * std::max(kMessages * message_bytes_max, body_bytes_max);
}

runtime::CoreId cores_for(const std::vector<int>& cpus) noexcept {
  return static_cast<runtime::CoreId>(std::clamp<std::size_t>(cpus.size(), 1, runtime::kCoresMax));
}

config::SettingTable settings_of(ServerOptions& options, ServedBy served_by) {
  config::SettingTable table;
  table.add(server_rows(), options);
  table.add(limit_rows(), options);
  for (const ServiceEntry& service : services_of(options.node)) {
    if (service.add_settings == nullptr) continue;
    service.add_settings(table, service.options, served_by != ServedBy::echo);
  }
  if (served_by == ServedBy::application) {
    table.add(Dispatch::handler_settings(), options.node.dispatch);
  }
  table.add(connection_rows(), options);
  table.add(websocket_rows(), options);
  table.add(http_rows(), options);
  table.add(runtime_rows(), options);
  table.add(log_rows(), options);
  return table;
}

void resolve(ServerOptions& options, const runtime::HostFacts& host, const std::string& host_name,
             std::uint64_t memory_bytes) {
  NodeOptions& node = options.node;
  ProcessOptions& process = options.process;
  if (process.runtime.cores == 0) process.runtime.cores = cores_for(host.cpus_allowed);
  const bool pins =
      options.pin &&
      (options.pin_anyway || runtime::advise_pinning(host, process.runtime.cores).is_worth_it);
  process.runtime.cpus = pins ? host.cpus_allowed : std::vector<int>{};
  if (node.dispatch.node_name.empty()) node.dispatch.node_name = host_name;
  node.dispatch.server_version = version();
  // A frame of the largest size must find room.
  node.dispatch.handler_bytes_max =
      std::max(node.dispatch.handler_bytes_max, node.dispatch.frame_bytes_max);
  // Only a descriptor of the process can be asked for its peer's address.
  if (node.connections_per_ip_max != 0 || node.quota.tracks()) {
    node.network.direct_descriptors = false;
  }
  const std::uint32_t cores = process.runtime.cores;
  node.network.streams_max = (node.connections_max + cores - 1) / cores;
  const net::NetworkOptions& network = node.network;
  const std::uint64_t buffers =
      std::uint64_t{network.receive_buffer_bytes} * network.receive_buffers +
      std::uint64_t{network.medium_buffer_bytes} * network.medium_buffers +
      std::uint64_t{network.large_buffer_bytes} * network.large_buffers;
  if (process.runtime.memory_bytes_max == 0) {
    process.runtime.memory_bytes_max = std::max(memory_bytes / 2, least_memory(buffers, cores));
  }
  node.unfinished_bytes_max =
      std::max(node.unfinished_bytes_max, least_unfinished(node.websocket.reader.message_bytes_max,
                                                           node.http.limits.body_bytes_max, cores));
  process.connections_max = node.connections_max;
  process.direct_descriptors = node.network.direct_descriptors;
}

namespace {

// The values that a program runs with, by their path: its table is gone when it runs.
using Values = std::vector<std::pair<std::string, config::Value>>;

// Reads the sources again, with options of its own: those of the running cores stay as they are.
Reload reload_of(ServedBy served_by, const std::vector<ServiceEntry>& services,
                 const config::Program& program, const std::vector<std::string>& arguments,
                 const config::Environment& environment, const config::Configuration& values) {
  Values running;
  for (const config::Setting& setting : values.table().settings()) {
    running.emplace_back(std::string{setting.section} + "." + std::string{setting.key},
                         values.of(setting));
  }
  return [=]() -> Reloaded {
    ServerOptions fresh;
    fresh.node.services = services;
    const config::SettingTable table = settings_of(fresh, served_by);
    config::Configuration before(table);
    for (const auto& [path, value] : running) {
      if (const config::Setting* const setting = table.find(path)) before.of(*setting) = value;
    }
    return compare(before, config::load_config(table, program, arguments, environment,
                                               config::read_whole_file));
  };
}

}  // namespace

std::optional<int> read_settings(ServerOptions& options, ServedBy served_by, bool has_huge_pages,
                                 config::Program program, const std::vector<std::string>& arguments,
                                 const config::Environment& environment) {
  const config::SettingTable table = settings_of(options, served_by);
  program.check = [=](config::ConfigResult& result) {
    check_settings(result, served_by, has_huge_pages);
  };
  const config::ConfigResult result =
      config::load_config(table, program, arguments, environment, config::read_whole_file);
  if (const auto exit_code = config::answer(result)) return exit_code;
  table.store(result.config);
  options.process.reload =
      reload_of(served_by, options.node.services, program, arguments, environment, result.config);
  options.process.warns_if_fewer =
      result.origin_of(table.at("limits.connections_max")) != "default";
  options.pin_anyway = result.origin_of(table.at("server.pin")) != "default";
  resolve(options, runtime::read_host_facts(), host_name(), allowed_memory());
  return std::nullopt;
}

std::vector<runtime::Address> parse_addresses(const std::vector<std::string>& texts) {
  std::vector<runtime::Address> addresses;
  for (const std::string& text : texts) {
    const auto address = runtime::Address::parse(text);
    RT_ASSERT(address.has_value());  // the row's check has taken it
    addresses.push_back(*address);
  }
  return addresses;
}

}  // namespace corelane::services
