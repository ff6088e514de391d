// `corelane echo`: a raw WebSocket echo on any path, for conformance and load tests and first
// experiments. A node like that of `serve`, with an endpoint of its own in place of the opcode
// protocol.

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "services/node/process.hpp"
#include "services/node/start_guard.hpp"
#include "tools/commands.hpp"
#include "tools/serve_command.hpp"

namespace corelane::tools {
namespace {

void on_message(ws::Connection& connection, ws::Message& message) noexcept {
  // False: it is closing, or was closed just now because it does not read.
  static_cast<void>(connection.echo(message));
}
void on_close(ws::Connection&, ws::CloseCode, std::string_view) noexcept {}

void hello(void*, const net::http::Request&, const net::http::RouteMatch&,
           net::http::Responder& responder) {
  responder.respond(net::http::Status::ok, "text/plain",
                    "corelane echo: connect with a WebSocket\n");
}
void count(void*, const net::http::Request& request, const net::http::RouteMatch&,
           net::http::Responder& responder) {
  responder.respond(net::http::Status::ok, "text/plain", fmt::format("{}\n", request.body.size()));
}

void make_echo(services::NodeOptions& node) {
  // A warning has said that server.tcp_listen is left out.
  std::erase_if(node.listeners, [](const services::NodeListener& listener) {
    return listener.spoken == services::Spoken::tcp;
  });
  for (services::NodeListener& listener : node.listeners) {
    if (listener.spoken == services::Spoken::http) listener.note = "echo";
  }
  // A message at its limit comes back from an empty queue, with what the same receive brought.
  node.network.queued_bytes_max =
      std::max(node.network.queued_bytes_max, node.websocket.reader.message_bytes_max) +
      std::max(node.network.medium_buffer_bytes, node.network.large_buffer_bytes);
  node.websocket_paths.clear();
  node.websocket_routes = {
      {.pattern = "/*path", .options = node.websocket, .handler = {nullptr, on_message, on_close}}};
  node.http_routes = {{"GET", "/", {.run = hello}},
                      {"GET", "/*path", {.run = hello}},
                      {"POST", "/*path", {.run = count}}};
}

}  // namespace

int run_echo(const Arguments& arguments) {
  services::guard_start();
  services::ServerOptions options;
  if (const auto exit_code =
          read_server_settings(options, services::ServedBy::echo, "corelane echo", arguments)) {
    return *exit_code;
  }
  make_echo(options.node);
  return services::run_node(std::move(options.process), std::move(options.node));
}

}  // namespace corelane::tools
