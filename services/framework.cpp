#include "services/framework.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "net/http/router.hpp"
#include "runtime/exception.hpp"
#include "runtime/log.hpp"
#include "services/config/answer.hpp"
#include "services/framework_route.hpp"
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

// --- WebSocket endpoints: their functions, with what they throw caught

namespace ws = corelane::ws;

const websocket_endpoint& functions_of(websocket& peer) noexcept {
  return *static_cast<const websocket_endpoint*>(peer.endpoint().context());
}

template <class Call>
void guarded(websocket& peer, const char* what, Call call) noexcept {
  try {
    call();
  } catch (...) {
    corelane::runtime::log(corelane::runtime::LogLevel::warning,
                           fmt::format("{} of a WebSocket endpoint has thrown: {}", what,
                                       corelane::runtime::describe(std::current_exception())));
    peer.close(close_code::internal_error, "the handler has failed");
  }
}

void on_open(websocket& peer, handshake& asked) noexcept {
  const websocket_endpoint& endpoint = functions_of(peer);
  if (endpoint.on_open == nullptr) return;
  guarded(peer, "on_open", [&] { endpoint.on_open(peer, asked); });
}

void on_message(websocket& peer, ws::Message& message) noexcept {
  const websocket_endpoint& endpoint = functions_of(peer);
  if (message.kind() == ws::MessageKind::text) {
    guarded(peer, "on_text", [&] { endpoint.on_text(peer, message.text()); });
  } else {
    guarded(peer, "on_binary", [&] { endpoint.on_binary(peer, message.payload()); });
  }
}

void on_close(websocket& peer, close_code code, std::string_view reason) noexcept {
  const websocket_endpoint& endpoint = functions_of(peer);
  if (endpoint.on_close == nullptr) return;
  guarded(peer, "on_close", [&] { endpoint.on_close(peer, code, reason); });
}

task<admission> admit(void* context, const handshake& asked) {
  return static_cast<const websocket_endpoint*>(context)->admit(asked);
}

}  // namespace

namespace detail {

services::NodeOptions::WebSocketRoute route_of(const std::string& pattern,
                                               websocket_endpoint& endpoint,
                                               const ws::EndpointOptions& common) {
  services::NodeOptions::WebSocketRoute route{.pattern = pattern,
                                              .options = common,
                                              .handler = {on_open, on_message, on_close},
                                              .context = &endpoint};
  if (endpoint.admit != nullptr) route.handler.admit_later = admit;
  route.options.handshake.subprotocols = endpoint.subprotocols;
  route.options.handshake.is_subprotocol_required = endpoint.subprotocol_required;
  route.options.admit_deadline = endpoint.admit_deadline;
  route.options.messages = endpoint.on_binary == nullptr ? ws::Messages::text
                           : endpoint.on_text == nullptr ? ws::Messages::binary
                                                         : ws::Messages::any;
  return route;
}

}  // namespace detail

app& app::add_route(services::NodeOptions::HttpRoute route) {
  corelane::net::http::Router<int>{}.add(route.method, route.pattern, 0);  // throws
  routes_.push_back(std::move(route));
  return *this;
}

app& app::on_websocket(std::string pattern, websocket_endpoint endpoint) {
  corelane::net::http::Router<int>{}.add("GET", pattern, 0);  // throws
  if (endpoint.on_text == nullptr && endpoint.on_binary == nullptr) {
    throw std::invalid_argument("the endpoint at " + pattern + " takes no messages");
  }
  ws::HandshakePolicy policy;
  policy.subprotocols = endpoint.subprotocols;
  policy.is_subprotocol_required = endpoint.subprotocol_required;
  policy.check_subprotocols();  // throws
  endpoints_.push_back({std::move(pattern), std::move(endpoint)});
  return *this;
}

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
  server.node.services = services_;
  services::config::Program program{
      .command = command, .presets = presets_of(options_), .presets_from = "framework::options"};
  std::optional<int> exit_code;
  try {
    exit_code = services::read_settings(server, services::ServedBy::application,
                                        /*has_huge_pages=*/false, std::move(program), arguments,
                                        environment);
  } catch (const std::invalid_argument& error) {  // two settings of one name
    corelane::runtime::log(corelane::runtime::LogLevel::error,
                           fmt::format("cannot start: {}", error.what()));
    corelane::runtime::flush_log();
    return services::config::kExitUsage;
  }
  if (exit_code) return *exit_code;
  for (raw_endpoint& endpoint : endpoints_) {
    server.node.websocket_routes.push_back(
        detail::route_of(endpoint.pattern, endpoint.functions, server.node.websocket));
  }
  return services::run_node(std::move(server.process), std::move(server.node));
}

}  // namespace framework
