#include "services/framework.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "services/node/process.hpp"
#include "services/node/settings.hpp"

namespace framework {
namespace {

namespace services = corelane::services;
using services::config::Preset;

// The options as values of settings, in front of files, variables and flags.
std::vector<Preset> presets_of(const options& settings) {
  const options defaults;
  std::vector<Preset> presets;
  const auto number = [&](const char* path, auto value, auto its_default) {
    if (value != its_default) presets.push_back({path, static_cast<std::uint64_t>(value)});
  };
  if (settings.listen != defaults.listen) presets.push_back({"server.listen", settings.listen});
  if (!settings.tcp_listen.empty()) presets.push_back({"server.tcp_listen", settings.tcp_listen});
  if (!settings.origins.empty()) presets.push_back({"websocket.origins", settings.origins});
  if (settings.origin_strict) presets.push_back({"websocket.origin_strict", true});
  number("server.cores", settings.cores, defaults.cores);
  number("server.drain_deadline", settings.drain_deadline, defaults.drain_deadline);
  number("limits.message_bytes_max", settings.message_bytes_max, defaults.message_bytes_max);
  // A reply as large as the largest request fits into an empty queue.
  if (settings.message_bytes_max > defaults.message_bytes_max) {
    presets.push_back({"limits.outgoing_queue_bytes_max", settings.message_bytes_max});
  }
  number("limits.handlers_max", settings.handlers_max, defaults.handlers_max);
  number("limits.handlers_per_session_max", settings.handlers_per_session_max,
         defaults.handlers_per_session_max);
  number("limits.handler_bytes_max", settings.handler_bytes_max, defaults.handler_bytes_max);
  number("limits.channels_max", settings.channels_max, defaults.channels_max);
  return presets;
}

}  // namespace

app::app(options settings) : options_(std::move(settings)) {}

int app::run(int argc, const char* const* argv) {
  const std::string command = argc > 0 ? argv[0] : "server";
  const std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
  return serve(command, arguments, services::config::process_environment());
}

int app::run() {
  return serve("server", {}, {});
}

int app::serve(const std::string& command, const std::vector<std::string>& arguments,
               const std::vector<std::pair<std::string, std::string>>& environment) {
  services::ServerOptions server;
  server.node.handlers = &handlers_;
  server.node.http_routes = routes_;
  services::config::Program program{
      .command = command, .presets = presets_of(options_), .presets_from = "framework::options"};
  if (const auto exit_code = services::read_settings(server, services::ServedBy::application,
                                                     /*has_huge_pages=*/false, std::move(program),
                                                     arguments, environment)) {
    return *exit_code;
  }
  return services::run_node(std::move(server.process), std::move(server.node));
}

}  // namespace framework
