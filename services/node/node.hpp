#pragma once
// Node: a whole server on all cores of a runtime: sockets, HTTP, WebSocket, TCP, and one instance
// of each service a core. The composition that `corelane serve`, framework::app and the tests
// share.
//
// Used from the main task on core 0: start, listen, (serve), drain, stop, in this order.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "net/http/server.hpp"
#include "net/network.hpp"
#include "runtime/address.hpp"
#include "runtime/sharded.hpp"
#include "runtime/task.hpp"
#include "services/cache/options.hpp"
#include "services/dispatch/dispatch.hpp"
#include "services/metrics/metrics.hpp"
#include "services/node/ip_limit.hpp"
#include "services/node/relief.hpp"
#include "services/node/tcp_sessions.hpp"
#include "services/node/unix_socket_file.hpp"
#include "services/pubsub/pubsub.hpp"
#include "services/quota/quota.hpp"
#include "services/sessions/sessions.hpp"
#include "ws/endpoint.hpp"
#include "ws/endpoint_routes.hpp"

namespace corelane::services {

// The protocol that is spoken on the connections of a listener.
enum class Spoken : std::uint8_t {
  http,       // HTTP, and WebSocket where a request asks for it
  tcp,        // the opcode protocol without WebSocket
  operators,  // HTTP, for metrics and health alone
};

struct NodeListener {
  runtime::Address address;  // port 0 is an ephemeral one
  Spoken spoken = Spoken::http;
  const char* note = "";  // for people, where the address is told
};

struct NodeOptions {
  std::vector<NodeListener> listeners{};
  net::NetworkOptions network{};
  net::http::ServerOptions http{};
  ws::EndpointOptions websocket{};  // of the opcode protocol
  // Paths of the opcode protocol over WebSocket: patterns of ws/endpoint_routes.hpp.
  std::vector<std::string> websocket_paths{"/", "/ws"};
  TcpOptions tcp{};
  PubSubOptions pubsub{};
  CacheServiceOptions cache{};
  DispatchOptions dispatch{};
  MetricsOptions metrics{};
  // If they track addresses, network.direct_descriptors must be false.
  QuotaOptions quota{};
  // Connections of the node; each core takes its share. A connection beyond it gets 503, or
  // Error overloaded.
  std::uint32_t connections_max = 1'000'000;
  // Connections of one address; 0: no limit. With a limit, network.direct_descriptors must be
  // false.
  std::uint32_t connections_per_ip_max = 0;
  // Bytes of unfinished messages, frames and bodies; each core has its share. A core that passes it
  // closes the connections that hold most and have sent nothing for longest.
  std::uint64_t unfinished_bytes_max = 256 * 1024 * 1024;
  bool log_connections = false;  // services/sessions/connection_log.hpp
  bool debug_routes = false;     // GET /debug/tasks (services/node/operator_routes.hpp)
  // Most sessions to which a core hands messages in one turn; the next turns serve the others.
  std::uint32_t fan_out_max = FanOuts::kTurnMax;
  runtime::ListenOptions socket{};         // rights of the files of Unix sockets
  const HandlerTable* handlers = nullptr;  // of the application; must outlive the node
  RequestGates gates{};
  // Services of the application, behind the server's own (services/service.hpp). Their options
  // outlive the node.
  std::vector<ServiceEntry> services{};
  // HTTP routes of the application, beside the server's own. Everything that a route points to
  // outlives the node; it is called on all cores.
  struct HttpRoute {
    std::string method;
    std::string pattern;  // net/http/router.hpp
    net::http::RouteHandler handler;
  };
  std::vector<HttpRoute> http_routes{};  // "GET /" takes the place of our page
  // WebSocket endpoints of the application. What `handler` and `context` point at outlives the node
  // and is used on all cores; a connection finds `context` by endpoint().
  struct WebSocketRoute {
    std::string pattern;
    ws::EndpointOptions options{};
    ws::ConnectionHandler handler;
    void* context = nullptr;
  };
  std::vector<WebSocketRoute> websocket_routes{};
};

// The common part of a node's cores: its options, the list of its services, bound to the options
// (services/node/services.hpp), and the opcodes of the services and of the application's handlers.
struct NodePlan {
  explicit NodePlan(NodeOptions with);
  ~NodePlan();
  NodePlan(const NodePlan&) = delete;
  NodePlan& operator=(const NodePlan&) = delete;

  NodeOptions options;
  const std::vector<ServiceEntry> services;
  OpcodeTable opcodes;
  MetricTable metrics;
  const std::unique_ptr<Heartbeats> heartbeats = std::make_unique<Heartbeats>();
};

// One core's share of a total of all cores.
std::uint32_t share_of(std::uint32_t total) noexcept;

// The streams of a core's network: its share of the connections, and some more for connections that
// get the answer that there is no room. Further connections wait to be accepted.
std::uint64_t streams_for(std::uint64_t connections_max, std::uint32_t cores) noexcept;

// One core's part.
class CoreNode {
 public:
  // Throws the exceptions of a service's `make` or add_routes(), and std::invalid_argument for
  // routes and endpoints that conflict.
  explicit CoreNode(const NodePlan& plan);
  ~CoreNode();

  // The address that was bound.
  runtime::Result<runtime::Address> listen(const NodeListener& listener);
  // Draining, in two steps (Node::drain). First: no more connections, no more requests over HTTP.
  runtime::Task<void> stop_accepting();
  // Second: says 1001 to every WebSocket and Error draining to TCP sessions, and waits until all
  // streams are gone; then cuts the rest off. It waits for as long as a peer has to take our last
  // words (the longest of the close timeouts), and not beyond `until`, a point on Core::now().
  // Returns how many were cut off.
  runtime::Task<std::uint32_t> end_sessions(runtime::Nanoseconds until);
  // Sessions told in one turn: 3 to 6 ms with what the turn then sends.
  static constexpr std::uint32_t kEndedInATurn = 256;

  net::Network& network() noexcept { return network_; }
  Sessions& sessions() noexcept { return sessions_; }
  ws::Endpoint& endpoint() noexcept { return endpoint_; }  // of the opcode protocol
  const net::http::Server& http() const noexcept { return http_; }
  bool draining() const noexcept { return draining_; }
  // Of all endpoints (websocket.origins), for handshakes from now on.
  void allow_origins(const std::vector<std::string>& entries);
  // Looks for connections to end for want of memory.
  std::uint64_t relief_passes() const noexcept { return relief_.passes(); }

 private:
  static void on_open(ws::Connection& connection, ws::Handshake& handshake) noexcept;
  static void on_message(ws::Connection& connection, ws::Message& message) noexcept;
  static void on_close(ws::Connection& connection, ws::CloseCode code,
                       std::string_view reason) noexcept;
  static void on_logged_message(ws::Connection& connection, ws::Message& message) noexcept;
  static const ws::ConnectionHandler kHandler;
  static const ws::ConnectionHandler kLoggedHandler;  // log.connections
  static net::AcceptFunction accept_of(const NodeListener& listener) noexcept;
  void add_endpoints(const NodeOptions& options);
  runtime::Task<void> close_endpoints();
  net::http::ServerOptions http_options(const NodeOptions& options) noexcept;
  static net::http::Routes routes(CoreNode& self, const NodePlan& plan);
  void add_operator_server(const NodeOptions& options);

  const runtime::ListenOptions socket_;
  bool draining_ = false;
  const runtime::Nanoseconds close_timeout_;
  // In the order of the list. Made by the first that it is a member of, destroyed last.
  struct Services {
    Services() = default;
    explicit Services(const NodePlan& plan);
    ~Services();
    std::vector<std::unique_ptr<Service>> all;
  };
  Services services_;
  Sessions& sessions_;
  net::Network network_;
  Relief relief_;
  ws::Endpoint endpoint_;
  std::vector<std::unique_ptr<ws::Endpoint>> endpoints_;  // of the application
  ws::EndpointRoutes upgrades_;
  net::http::Routes routes_;
  net::http::Server http_;
  // Of the listeners for operators. Apart, so that the limits of the others are not theirs.
  struct OperatorServer {
    OperatorServer(net::Network& network, const net::http::ServerOptions& options,
                   net::http::Routes with)
        : routes(std::move(with)), http(network, options, routes) {}
    const net::http::Routes routes;
    net::http::Server http;
  };
  std::optional<OperatorServer> operators_;
  TcpSessions tcp_;
  std::optional<ConnectionLog> connection_log_;
  std::optional<IpLimit> ip_limit_;
};

class Node {
 public:
  // Throws std::invalid_argument if two services serve one opcode.
  explicit Node(NodeOptions options) : plan_(std::move(options)) {}
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  struct StartError {
    enum class Cause : std::uint8_t {
      options,  // a service or a route conflicts with another (std::invalid_argument)
      memory,   // std::bad_alloc, net::BuffersRefused
      other,    // any other exception, of a service
    };
    std::string problem;
    Cause cause = Cause::other;
  };
  // Makes every core's part. If one cannot be made, the others are destroyed, and neither listen()
  // nor drain() nor stop() may follow.
  runtime::Task<std::optional<StartError>> start();

  struct ListenError {
    runtime::Error error;
    std::string address;
  };
  // Listens on all addresses on all cores; Unix sockets on core 0. The first failure, if any.
  runtime::Task<std::optional<ListenError>> listen();
  // The listeners that listen() bound, in the order of the options, ephemeral ports resolved.
  const std::vector<NodeListener>& listening() const noexcept { return listening_; }
  // The first of them.
  runtime::Address address(Spoken spoken = Spoken::http) const noexcept;

  // CoreNode::allow_origins on all cores, one after the other.
  runtime::Task<void> allow_origins(std::vector<std::string> entries);

  // All cores at once. What the server has taken in by then is still handed over: an event that was
  // published reaches its subscribers ahead of their close frame. Returns how many connections had
  // to be cut off.
  runtime::Task<std::uint32_t> drain(runtime::Nanoseconds deadline);
  // After drain().
  runtime::Task<void> stop();

  runtime::Sharded<CoreNode>& cores() noexcept { return cores_; }

 private:
  // Waits until chains of `hops` messages from core to core that exist now have come to their end:
  // lanes keep order, so a round of messages between all cores is behind what was sent before.
  static runtime::Task<void> settle_lanes(unsigned hops);
  runtime::Task<std::optional<ListenError>> listen_on(NodeListener listener);

  NodePlan plan_;
  runtime::Sharded<CoreNode> cores_;
  std::vector<NodeListener> listening_;
  UnixSocketFiles files_;
};

}  // namespace corelane::services
