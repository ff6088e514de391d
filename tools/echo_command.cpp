// `corelane echo`: a raw WebSocket echo on any path, for conformance and load tests and first
// experiments. The same network, HTTP server and endpoint as `serve`, without services.

#include <fmt/core.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "net/http/server.hpp"
#include "net/network.hpp"
#include "runtime/await.hpp"
#include "runtime/sharded.hpp"
#include "runtime/task_group.hpp"
#include "services/node/process.hpp"
#include "services/node/start_guard.hpp"
#include "services/node/unix_socket_file.hpp"
#include "tools/commands.hpp"
#include "tools/serve_command.hpp"
#include "ws/endpoint.hpp"

namespace corelane::tools {

namespace {

using runtime::Address;
using runtime::Core;
using runtime::CoreId;
using runtime::Nanoseconds;
using runtime::Task;

constexpr Nanoseconds kDrainLook = 10 * runtime::kMillisecond;

struct EchoOptions {
  net::NetworkOptions network;
  net::http::ServerOptions http;
  ws::EndpointOptions websocket;
  services::IpLimit::Options ip_limit;
  runtime::ListenOptions socket;
  bool limits_addresses = false;
};

EchoOptions echo_options(const services::NodeOptions& node) {
  EchoOptions options;
  options.network = node.network;
  options.http = node.http;
  options.websocket = node.websocket;
  options.socket = node.socket;
  options.limits_addresses = node.connections_per_ip_max != 0;
  options.ip_limit.connections_max = node.connections_per_ip_max;
  // A message at its limit comes back from an empty queue, with what the same receive brought.
  options.network.queued_bytes_max =
      std::max(options.network.queued_bytes_max,
               static_cast<std::size_t>(node.websocket.reader.message_bytes_max)) +
      std::max(options.network.medium_buffer_bytes, options.network.large_buffer_bytes);
  return options;
}

// One core's part.
class CoreEcho {
 public:
  explicit CoreEcho(const EchoOptions& options)
      : socket_(options.socket),
        network_(options.network),
        endpoint_(network_, options.websocket, kHandler, nullptr),
        routes_(make_routes()),
        http_(network_, with_upgrade(options.http), routes_) {
    if (options.limits_addresses) ip_limit_.emplace(network_, options.ip_limit);
  }

  runtime::Result<Address> listen(const Address& address) {
    net::AcceptFunction accept = net::http::Server::accept;
    void* context = &http_;
    if (ip_limit_ && address.family() != AF_UNIX) {
      context = &ip_limit_->gate(accept, context);
      accept = services::IpLimit::accept;
    }
    const auto listener = network_.listen(address, socket_, accept, context);
    if (!listener) return runtime::Unexpected{listener.error()};
    return network_.address_of(*listener);
  }

  Task<std::uint32_t> drain(Nanoseconds deadline) {
    const Nanoseconds until = Core::current().now() + deadline;
    http_.drain();
    co_await network_.stop_listening();
    endpoint_.for_each([](ws::Connection& connection) {
      connection.close(ws::CloseCode::going_away, "the server is going away");
    });
    while (network_.stream_count() > 0 && Core::current().now() < until) {
      const Nanoseconds look = std::min(until, Core::current().now() + kDrainLook);
      if (!co_await runtime::sleep_until(look)) break;
    }
    const std::uint32_t cut_off = network_.stream_count();
    co_await network_.shutdown();
    co_return cut_off;
  }

 private:
  static void on_message(ws::Connection& connection, ws::Message& message) noexcept {
    // False: it is closing, or was closed just now because it does not read.
    static_cast<void>(connection.echo(message));
  }
  static void on_close(ws::Connection&, ws::CloseCode, std::string_view) noexcept {}
  static constexpr ws::ConnectionHandler kHandler{nullptr, on_message, on_close};

  static void hello(void*, const net::http::Request&, const net::http::RouteMatch&,
                    net::http::Responder& responder) noexcept {
    responder.respond(net::http::Status::ok, "text/plain",
                      "corelane echo: connect with a WebSocket\n");
  }
  static void count(void*, const net::http::Request& request, const net::http::RouteMatch&,
                    net::http::Responder& responder) noexcept {
    responder.respond(net::http::Status::ok, "text/plain",
                      fmt::format("{}\n", request.body.size()));
  }
  static net::http::Routes make_routes() {
    net::http::Routes routes;
    routes.add("GET", "/*path", {.run = hello});
    routes.add("POST", "/*path", {.run = count});
    return routes;
  }
  net::http::ServerOptions with_upgrade(net::http::ServerOptions options) noexcept {
    options.upgrade = ws::Endpoint::upgrade;
    options.upgrade_context = &endpoint_;
    return options;
  }

  const runtime::ListenOptions socket_;
  net::Network network_;
  ws::Endpoint endpoint_;
  net::http::Routes routes_;
  net::http::Server http_;
  std::optional<services::IpLimit> ip_limit_;
};

class ServedEcho final : public services::Served {
 public:
  ServedEcho(EchoOptions options, std::vector<Address> listen)
      : options_(std::move(options)), listen_(std::move(listen)) {}

  Task<std::string> start() override { return cores_.try_start(std::cref(options_)); }

  Task<std::optional<services::Node::ListenError>> listen() override {
    for (const Address& address : listen_) {
      auto error = co_await listen_on(address);
      if (error) co_return error;
    }
    co_return std::nullopt;
  }

  std::vector<Listening> listening() const override {
    std::vector<Listening> all;
    all.reserve(bound_.size());
    for (const Address& address : bound_) all.push_back({address, "echo"});
    return all;
  }

  Task<std::uint32_t> drain(Nanoseconds deadline) override {
    files_.remove_all();  // while the sockets are bound
    std::uint32_t cut_off = 0;
    runtime::TaskGroup group("drain");
    for (CoreId core = 0; core < Core::current().cores(); ++core) {
      group.spawn("drain", drain_core, &cores_, core, deadline, &cut_off);
    }
    co_await group.join();
    co_return cut_off;
  }

  Task<void> stop() override {
    // Lanes keep order: each round between all cores is behind one of the messages by which the
    // limit of connections of an address asks, answers and gives back.
    constexpr int kRounds = 3;
    for (int round = 0; round < kRounds; ++round) {
      for (CoreId core = 0; core < Core::current().cores(); ++core) {
        co_await runtime::call_on(core, [] { return runtime::on_every_core([] {}); });
      }
    }
    co_await cores_.stop();
  }

 private:
  using Cores = runtime::Sharded<CoreEcho>;

  static Task<void> drain_core(Cores* cores, CoreId core, Nanoseconds deadline,
                               std::uint32_t* cut_off) {
    *cut_off += co_await runtime::call_on(
        core, [cores, deadline]() -> Task<std::uint32_t> { return (*cores)->drain(deadline); });
  }

  // Core 0 turns port 0 into a number, on which the others listen too.
  Task<std::optional<services::Node::ListenError>> listen_on(Address address) {
    const auto first = cores_->listen(address);
    if (!first) co_return services::Node::ListenError{first.error(), address.text()};
    const Address bound = *first;
    bound_.push_back(bound);
    files_.add(bound);
    const CoreId cores = address.family() == AF_UNIX ? CoreId{1} : Core::current().cores();
    for (CoreId core = 1; core < cores; ++core) {
      const auto other =
          co_await runtime::call_on(core, [this, bound] { return cores_->listen(bound); });
      if (!other) co_return services::Node::ListenError{other.error(), bound.text()};
    }
    co_return std::nullopt;
  }

  EchoOptions options_;
  std::vector<Address> listen_;
  Cores cores_;
  std::vector<Address> bound_;
  services::UnixSocketFiles files_;
};

}  // namespace

int run_echo(const Arguments& arguments) {
  services::guard_start();
  services::ServerOptions options;
  if (const auto exit_code =
          read_server_settings(options, services::ServedBy::echo, "corelane echo", arguments)) {
    return *exit_code;
  }
  // A warning has said that server.tcp_listen is left out.
  options.process.listen = options.node.listen;
  ServedEcho served(echo_options(options.node), options.process.listen);
  return services::run_process(std::move(options.process), served);
}

}  // namespace corelane::tools
