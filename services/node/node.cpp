#include "services/node/node.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <exception>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "runtime/await.hpp"
#include "runtime/exception.hpp"
#include "runtime/task_group.hpp"
#include "services/node/operator_routes.hpp"
#include "services/node/services.hpp"
#include "services/node/welcome.hpp"

namespace corelane::services {

using runtime::Core;
using runtime::CoreId;
using runtime::Task;

namespace {

constexpr std::string_view kGoingAway = net::http::Server::kGoingAway;
// Connections of operators on a core. Of the streams above: they find room when clients do not.
constexpr std::uint32_t kOperatorsMax = 64;
constexpr runtime::Nanoseconds kDrainLook = 10 * runtime::kMillisecond;
// Streams of each core beyond its connections, for connections that get the answer that there is no
// room.
constexpr std::uint32_t kRefusedAtOnce = 256;
// Longer than the close timeout by two ticks of a connection's own timer (1/8 s each), so that this
// timer ends the connection first.
constexpr runtime::Nanoseconds kDrainGrace = 250 * runtime::kMillisecond;
// The longest ways over cores (services/pubsub): publisher -> owner -> subscriber, and from there
// back to the publisher with the Ack.
constexpr unsigned kHopsToSubscriber = 2;
constexpr unsigned kHopsToAck = 4;

// Runs function(core), a Task<void>, on all cores at once and waits for all.
template <class Function>
Task<void> on_all_cores(Function function) {
  runtime::TaskGroup group("cores");
  for (CoreId core = 0; core < Core::current().cores(); ++core) {
    group.spawn(
        "cores",
        [](CoreId on, Function run) -> Task<void> {
          co_await runtime::call_on(on, [run, on] { return run(on); });
        },
        core, function);
  }
  co_await group.join();
}

Task<void> end_sessions_of(CoreNode& node, runtime::Nanoseconds until, std::uint32_t& cut_off) {
  cut_off = co_await node.end_sessions(until);
}

net::NetworkOptions network_options(const NodeOptions& options) noexcept {
  net::NetworkOptions network = options.network;
  network.streams_max =
      static_cast<std::uint32_t>(streams_for(options.connections_max, Core::current().cores()));
  // A burst of shared memory alone must not bring the core near its budget.
  const std::size_t budget = Core::current().memory().budget();
  if (budget != 0) network.shared_bytes_max = std::min(network.shared_bytes_max, budget / 4);
  return network;
}

TcpOptions tcp_options(const NodeOptions& options) noexcept {
  TcpOptions tcp = options.tcp;
  tcp.streams_max = share_of(options.connections_max);
  return tcp;
}

bool has_operator_listener(const NodeOptions& options) noexcept {
  return std::ranges::find(options.listeners, Spoken::operators, &NodeListener::spoken) !=
         options.listeners.end();
}

ws::EndpointOptions binary(ws::EndpointOptions options) {
  options.messages = ws::Messages::binary;
  return options;
}

void serve_welcome(void*, const net::http::Request&, const net::http::RouteMatch&,
                   net::http::Responder& responder) {
  responder.respond_static(welcome_page());
}

}  // namespace

const ws::ConnectionHandler CoreNode::kHandler{on_open, on_message, on_close};
const ws::ConnectionHandler CoreNode::kLoggedHandler{on_open, on_logged_message, on_close};

std::uint32_t share_of(std::uint32_t total) noexcept {
  const std::uint32_t cores = Core::current().cores();
  return std::max(1u, (total + cores - 1) / cores);
}

std::uint64_t streams_for(std::uint64_t connections_max, std::uint32_t cores) noexcept {
  return (connections_max + cores - 1) / cores + kRefusedAtOnce;
}

// Delegates to the default constructor, so that the destructor runs if a service cannot be made.
CoreNode::Services::Services(const NodePlan& plan) : Services() {
  for (const ServiceEntry& entry : plan.services) {
    for_service(entry.name, [&] {
      all.push_back(entry.make({.node = plan.options,
                                .opcodes = plan.opcodes,
                                .metrics = plan.metrics,
                                .heartbeats = *plan.heartbeats,
                                .options = entry.options}));
    });
  }
}

CoreNode::Services::~Services() {
  while (!all.empty()) all.pop_back();
}

CoreNode::CoreNode(const NodePlan& plan)
    : socket_(plan.options.socket),
      close_timeout_(std::max({plan.options.websocket.close_timeout, plan.options.tcp.close_timeout,
                               plan.options.http.linger})),
      services_(plan),
      sessions_(Sessions::local()),
      network_(network_options(plan.options)),
      relief_(network_, static_cast<std::size_t>(plan.options.unfinished_bytes_max /
                                                 network_.core().cores())),
      endpoint_(network_, binary(plan.options.websocket),
                plan.options.log_connections ? kLoggedHandler : kHandler, nullptr),
      routes_(routes(*this, plan)),
      http_(network_, http_options(plan.options), routes_),
      tcp_(tcp_options(plan.options)) {
  const NodeOptions& options = plan.options;
  add_endpoints(options);
  if (has_operator_listener(options)) add_operator_server(options);
  if (options.log_connections) tcp_.set_log(connection_log_.emplace());
  if (options.connections_per_ip_max != 0) {
    ip_limit_.emplace(network_, IpLimit::Options{.connections_max = options.connections_per_ip_max,
                                                 .hash_seed = options.pubsub.hash_seed});
  }
  set_local(ServiceSlot::node, this);
}

CoreNode::~CoreNode() {
  set_local(ServiceSlot::node, nullptr);
}

net::http::ServerOptions CoreNode::http_options(const NodeOptions& options) noexcept {
  net::http::ServerOptions http = options.http;
  http.streams_max = share_of(options.connections_max);
  http.upgrade = ws::EndpointRoutes::upgrade;
  http.upgrade_context = &upgrades_;
  return http;
}

void CoreNode::add_endpoints(const NodeOptions& options) {
  for (const std::string& pattern : options.websocket_paths) upgrades_.add(pattern, endpoint_);
  for (const NodeOptions::WebSocketRoute& route : options.websocket_routes) {
    endpoints_.push_back(
        std::make_unique<ws::Endpoint>(network_, route.options, route.handler, route.context));
    upgrades_.add(route.pattern, *endpoints_.back());
  }
}

void CoreNode::add_operator_server(const NodeOptions& options) {
  net::http::Routes routes;
  add_health_route(routes);
  add_ready_route(routes, *this);
  add_operator_routes(routes, options.debug_routes);
  net::http::ServerOptions http = options.http;
  http.connections_max = kOperatorsMax;
  operators_.emplace(network_, http, std::move(routes));
}

net::http::Routes CoreNode::routes(CoreNode& self, const NodePlan& plan) {
  const NodeOptions& options = plan.options;
  net::http::Routes routes;
  add_health_route(routes);
  for (std::size_t i = 0; i < plan.services.size(); ++i) {
    for_service(plan.services[i].name, [&] { self.services_.all[i]->add_routes(routes); });
  }
  for (const NodeOptions::HttpRoute& route : options.http_routes) {
    routes.add(route.method, route.pattern, route.handler);
  }
  const auto add_unless_taken = [&routes](const std::string& pattern,
                                          const net::http::RouteHandler& handler) {
    if (!routes.has_route("GET", pattern)) routes.add("GET", pattern, handler);
  };
  add_unless_taken("/", {.run = serve_welcome});
  add_ready_route(routes, self);
  if (!has_operator_listener(options)) add_operator_routes(routes, options.debug_routes);
  // Plain HTTP is told what is spoken there.
  for (const std::string& pattern : options.websocket_paths) add_unless_taken(pattern, {});
  for (const NodeOptions::WebSocketRoute& route : options.websocket_routes) {
    add_unless_taken(route.pattern, {});
  }
  return routes;
}

net::AcceptFunction CoreNode::accept_of(const NodeListener& listener) noexcept {
  if (listener.spoken != Spoken::tcp) return net::http::Server::accept;
  const bool is_unix = listener.address.family() == AF_UNIX;
  return is_unix ? TcpSessions::accept_unix : TcpSessions::accept;
}

runtime::Result<runtime::Address> CoreNode::listen(const NodeListener& listener) {
  net::AcceptFunction accept = accept_of(listener);
  void* context = &http_;
  if (listener.spoken == Spoken::tcp) context = &tcp_;
  if (listener.spoken == Spoken::operators) context = &operators_->http;
  if (ip_limit_ && listener.spoken != Spoken::operators && listener.address.family() != AF_UNIX) {
    context = &ip_limit_->gate(accept, context);
    accept = IpLimit::accept;
  }
  runtime::ListenOptions socket = socket_;
  socket.reuse_port = Core::current().cores() > 1;  // each core listens
  const auto bound = network_.listen(listener.address, socket, accept, context);
  if (!bound) return runtime::Unexpected{bound.error()};
  return network_.address_of(*bound);
}

void CoreNode::allow_origins(const std::vector<std::string>& entries) {
  endpoint_.allow_origins(entries);
  for (const auto& endpoint : endpoints_) endpoint->allow_origins(entries);
}

// --- WebSocket sessions

void CoreNode::on_open(ws::Connection& connection, ws::Handshake& handshake) noexcept {
  Session* session = Sessions::local().open(connection);
  connection.set_context(session);
  if (session == nullptr) {
    connection.close(ws::CloseCode::try_again_later, "no room for another session");
    return;
  }
  auto& log = local<CoreNode>(ServiceSlot::node).connection_log_;
  if (log) log->begin(*session, handshake.path);
}

void CoreNode::on_message(ws::Connection& connection, ws::Message& message) noexcept {
  auto* session = static_cast<Session*>(connection.context());
  Dispatch::local().on_message(*session, message.payload());
}

void CoreNode::on_logged_message(ws::Connection& connection, ws::Message& message) noexcept {
  auto* session = static_cast<Session*>(connection.context());
  ConnectionLog::note_received(*session, message.payload().size());
  Dispatch::local().on_message(*session, message.payload());
}

void CoreNode::on_close(ws::Connection& connection, ws::CloseCode code,
                        std::string_view reason) noexcept {
  auto* session = static_cast<Session*>(connection.context());
  if (session == nullptr) return;
  Traffic::local().count_close(static_cast<std::uint16_t>(code));
  ConnectionLog::end(*session, static_cast<std::uint16_t>(code), reason);
  connection.set_context(nullptr);
  Sessions::local().erase(*session);
}

// --- Draining

Task<void> CoreNode::stop_accepting() {
  draining_ = true;
  http_.drain();
  if (operators_) operators_->http.drain();
  for (const auto& service : services_.all) service->drain();
  co_await network_.stop_listening();
}

Task<void> CoreNode::close_endpoints() {
  for (const auto& endpoint : endpoints_) {
    for (std::uint32_t slot = 0; slot < endpoint->slots(); ++slot) {
      if (slot != 0 && slot % kEndedInATurn == 0) co_await runtime::Yield{};
      ws::Connection* connection = endpoint->in_slot(slot);
      if (connection != nullptr) connection->close(ws::CloseCode::going_away, kGoingAway);
    }
  }
}

Task<std::uint32_t> CoreNode::end_sessions(runtime::Nanoseconds until) {
  // No session is new: no connection has been accepted since stop_accepting().
  for (std::uint32_t slot = 0; slot < sessions_.slots(); ++slot) {
    if (slot != 0 && slot % kEndedInATurn == 0) co_await runtime::Yield{};
    Session* session = sessions_.in_slot(slot);
    if (session == nullptr) continue;
    if (TcpSessions::is_unfinished(*session)) {
      // The unfinished request will not be served, so the close does not wait for its end.
      session->close(ws::CloseCode::going_away, kGoingAway, net::http::Server::kDrainLinger);
    } else {
      session->close(ws::CloseCode::going_away, kGoingAway);
    }
  }
  co_await close_endpoints();
  runtime::Nanoseconds last_waited = Core::current().now();
  while (network_.stream_count() > 0) {
    const runtime::Nanoseconds now = Core::current().now();
    // HTTP answers that come later have all of the deadline, and then the peer its time to read.
    if (http_.waiting_count() > 0) last_waited = now;
    const runtime::Nanoseconds end = std::min(until, last_waited + close_timeout_ + kDrainGrace);
    if (now >= end) break;
    if (!co_await runtime::sleep_until(std::min(end, now + kDrainLook))) break;
  }
  const std::uint32_t cut_off = network_.stream_count();
  co_await network_.shutdown();
  co_await http_.stop();
  if (operators_) co_await operators_->http.stop();
  if (connection_log_) co_await connection_log_->stop();
  for (std::size_t i = services_.all.size(); i-- > 0;) co_await services_.all[i]->stop();
  co_return cut_off;
}

// --- The node on all cores

namespace {

// Waits until the messages that this core's services have sent so far have arrived, also in the own
// lane. The own lane keeps its order, and is held while a fan-out is unfinished.
Task<void> settle_core() {
  const auto own_lane = [] { return runtime::call_on(Core::current().id(), [] {}); };
  co_await own_lane();
  co_await runtime::on_every_core([] {});
  co_await own_lane();
}

// Waits for the last fan-out. Called when no session is left that could begin one.
Task<void> until_no_fan_out() {
  while (!Sessions::local().fan_outs().settled()) co_await runtime::Yield{};
}

}  // namespace

Task<std::optional<Node::StartError>> Node::start() {
  for (std::uint64_t* hash_seed :
       {&plan_.options.pubsub.hash_seed, &plan_.options.cache.hash_seed}) {
    if (*hash_seed == 0) *hash_seed = Core::current().ring().entropy();
  }
  std::optional<StartError> failure;
  try {
    co_await cores_.start(std::cref(plan_));
  } catch (const std::invalid_argument& error) {
    failure = StartError{.problem = error.what(), .cause = StartError::Cause::options};
  } catch (const net::BuffersRefused& error) {
    failure = StartError{.problem = error.what(), .cause = StartError::Cause::memory};
  } catch (const std::bad_alloc& error) {
    failure = StartError{.problem = error.what(), .cause = StartError::Cause::memory};
  } catch (...) {
    failure = StartError{.problem = runtime::describe(std::current_exception())};
  }
  co_return failure;
}

runtime::Address Node::address(Spoken spoken) const noexcept {
  const auto found = std::ranges::find(listening_, spoken, &NodeListener::spoken);
  RT_ASSERT(found != listening_.end());
  return found->address;
}

Task<std::optional<Node::ListenError>> Node::listen() {
  for (const NodeListener& listener : plan_.options.listeners) {
    if (auto error = co_await listen_on(listener)) co_return error;
  }
  co_return std::nullopt;
}

Task<std::optional<Node::ListenError>> Node::listen_on(NodeListener listener) {
  // Core 0 turns port 0 into a number, on which the others listen too.
  const auto first = cores_->listen(listener);
  if (!first) co_return ListenError{first.error(), listener.address.text()};
  listener.address = *first;
  listening_.push_back(listener);
  files_.add(listener.address);
  if (listener.address.family() == AF_UNIX) co_return std::nullopt;  // has no SO_REUSEPORT
  for (CoreId core = 1; core < Core::current().cores(); ++core) {
    const auto other =
        co_await runtime::call_on(core, [this, listener] { return cores_->listen(listener); });
    if (!other) co_return ListenError{other.error(), listener.address.text()};
  }
  co_return std::nullopt;
}

Task<void> Node::allow_origins(std::vector<std::string> entries) {
  co_await runtime::on_every_core([this, &entries] { cores_->allow_origins(entries); });
}

Task<std::uint32_t> Node::drain(runtime::Nanoseconds deadline) {
  const runtime::Nanoseconds until = Core::current().now() + deadline;
  files_.remove_all();  // while the sockets are bound
  co_await on_all_cores([this](CoreId) { return cores_->stop_accepting(); });
  co_await settle_lanes(kHopsToSubscriber);
  std::vector<std::uint32_t> cut_off(Core::current().cores());
  co_await on_all_cores([this, until, counts = cut_off.data()](CoreId core) {
    return end_sessions_of(*cores_, until, counts[core]);
  });
  co_return std::accumulate(cut_off.begin(), cut_off.end(), 0u);
}

Task<void> Node::settle_lanes(unsigned hops) {
  for (unsigned hop = 0; hop < hops; ++hop) {
    co_await on_all_cores([](CoreId) { return settle_core(); });
  }
}

Task<void> Node::stop() {
  // The end of the sessions has sent messages (subscriptions that were given up, acknowledgements):
  // each core's part must be there for those.
  co_await settle_lanes(kHopsToAck);
  co_await on_all_cores([](CoreId) { return until_no_fan_out(); });
  co_await cores_.stop();
}

}  // namespace corelane::services
