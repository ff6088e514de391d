#include "ws/endpoint.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "net/http/response_parser.hpp"
#include "net/http/syntax.hpp"
#include "runtime/await.hpp"
#include "runtime/core.hpp"
#include "runtime/wait_queue.hpp"
#include "ws/compression.hpp"
#include "ws/kept_bytes.hpp"

namespace corelane::ws {

using runtime::ErrorCode;
using runtime::Result;

namespace {

constexpr runtime::Nanoseconds kHandshakeTimeout = 10 * runtime::kSecond;

std::span<const std::byte> as_bytes(std::string_view text) noexcept {
  return std::as_bytes(std::span{text});
}

}  // namespace

Endpoint::Endpoint(net::Network& network, EndpointOptions options, const ConnectionHandler& handler,
                   void* context)
    : network_(network),
      options_(std::move(options)),
      handler_(handler),
      context_(context),
      deciding_{.context = this, .coroutine = decide},
      connections_(network.options().streams_max),
      refusal_(Admission::admit()) {}

Endpoint::~Endpoint() {
  RT_ASSERT(connections_.count() == 0);
  while (spare_kept_ != nullptr) delete std::exchange(spare_kept_, spare_kept_->next);
}

std::uint32_t Endpoint::tick() const noexcept {
  return static_cast<std::uint32_t>(network_.core().now() / (runtime::kSecond / 8)) | 1u << 31;
}

MaskKey Endpoint::next_mask_key() noexcept {
  const auto bits = static_cast<std::uint32_t>(network_.core().random().next());
  MaskKey key;
  std::memcpy(key.data(), &bits, sizeof bits);
  return key;
}

Inflater& Endpoint::shared_inflater() {
  if (inflater_ == nullptr) inflater_ = std::make_unique<Inflater>(kWindowBitsMax, true);
  return *inflater_;
}

Deflater& Endpoint::shared_deflater() {
  if (deflater_ == nullptr) {
    deflater_ = std::make_unique<Deflater>(kWindowBitsMax, true, options_.handshake.deflate.level,
                                           options_.handshake.deflate.memory_level);
  }
  return *deflater_;
}

std::unique_ptr<Deflater> Endpoint::make_deflater(const Connection::Compression& of) const {
  const DeflatePolicy& policy = options_.handshake.deflate;
  return std::make_unique<Deflater>(of.deflater_bits, of.deflater_no_takeover, policy.level,
                                    policy.memory_level);
}

Endpoint::KeptBytes& Endpoint::keep(OwnedBytes bytes) {
  KeptBytes* kept = spare_kept_;
  if (kept != nullptr) {
    spare_kept_ = kept->next;
  } else {
    kept = new KeptBytes;
    kept->endpoint = this;
    kept->release = [](net::ForeignBytes& foreign) noexcept {
      auto& self = static_cast<KeptBytes&>(foreign);
      self.bytes.reset();
      self.next = std::exchange(self.endpoint->spare_kept_, &self);
    };
  }
  kept->bytes = std::move(bytes);
  return *kept;
}

Connection* Endpoint::open(net::Stream& stream, Role role,
                           const std::optional<DeflateParameters>& deflate, void* context) {
  const auto made = connections_.emplace(*this, stream, role, deflate.has_value());
  if (made.value == nullptr) return nullptr;
  Connection& connection = *made.value;
  connection.id_ = {made.id.slot, made.id.generation};
  connection.context_ = context;
  if (deflate) {
    const bool server = role == Role::server;
    const bool shared_out =
        server ? deflate->server_no_context_takeover : deflate->client_no_context_takeover;
    const bool shared_in =
        server ? deflate->client_no_context_takeover : deflate->server_no_context_takeover;
    const std::uint8_t bits_out =
        server ? deflate->server_window_bits : deflate->client_window_bits;
    const std::uint8_t bits_in = server ? deflate->client_window_bits : deflate->server_window_bits;
    auto compression = std::make_unique<Connection::Compression>();
    compression->deflater_bits = bits_out;
    compression->deflater_no_takeover = shared_out;
    if (!shared_in) compression->inflater = std::make_unique<Inflater>(bits_in, false);
    if (!shared_out || bits_out != kWindowBitsMax) {
      compression->deflater = make_deflater(*compression);
    }
    connection.compression_ = std::move(compression);
  }
  stream.set_handler(Connection::kStreamHandler, &connection);
  connection.start_timer();
  ++counters_.opened;
  return &connection;
}

void Endpoint::erase(Connection& connection) noexcept {
  ++counters_.closed;
  connections_.erase(connection.id_.slot);
  if (connections_.count() == 0) empty_.wake_all(runtime::WaitQueue::Outcome::granted);
}

// --- Server

using Outcome = net::http::UpgradeOutcome;

namespace {

constexpr std::string_view kNoRoom = "no room for another connection";

}  // namespace

Outcome Endpoint::upgrade(void* endpoint, net::Stream& stream, const net::http::Request& request) {
  static const net::http::RouteMatch kNoParameters;
  return static_cast<Endpoint*>(endpoint)->answer(stream, request, kNoParameters);
}

Outcome Endpoint::answer(net::Stream& stream, const net::http::Request& request,
                         const net::http::RouteMatch& match) {
  const Upgrade upgrade = check_upgrade(request, options_.handshake);
  switch (upgrade.kind) {
    case UpgradeKind::not_an_upgrade:
      return {.kind = Outcome::Kind::not_an_upgrade};
    case UpgradeKind::rejected:
      return {.kind = Outcome::Kind::rejected,
              .status = static_cast<net::http::Status>(upgrade.rejection.status),
              .reason = upgrade.rejection.reason,
              .extra_fields = upgrade.rejection.extra_fields};
    case UpgradeKind::accepted:
      break;
  }
  if (network_.core().memory().reached(runtime::MemoryPressure::no_sessions)) [[unlikely]] {
    return {.kind = Outcome::Kind::rejected,
            .status = net::http::Status::service_unavailable,
            .reason = "overloaded: limits.memory_bytes_max is nearly reached"};
  }
  Handshake handshake = handshake_of(request, match.parameters(), upgrade, stream.id());
  if (handler_.admit != nullptr || handler_.admit_later != nullptr) {
    Admission admission = ask(handshake);
    switch (admission.kind_) {
      case Admission::Kind::admitted:
        handshake.state = std::move(admission.state_);
        break;
      case Admission::Kind::refused:
        refusal_ = std::move(admission);
        return {.kind = Outcome::Kind::rejected,
                .status = refusal_.status_,
                .reason = refusal_.reason_,
                .extra_fields = refusal_.fields_};
      case Admission::Kind::later:
        return {.kind = Outcome::Kind::deferred,
                .handler = &deciding_,
                .match = &match,
                .deadline = options_.admit_deadline};
    }
  }
  if (accept(stream, upgrade, handshake)) return {.kind = Outcome::Kind::taken};
  return {.kind = Outcome::Kind::rejected,
          .status = net::http::Status::service_unavailable,
          .reason = kNoRoom};
}

Handshake Endpoint::handshake_of(const net::http::Request& request,
                                 std::span<const net::http::RouteMatch::Parameter> parameters,
                                 const Upgrade& upgrade, net::StreamId stream) noexcept {
  return {.path = request.path,
          .query = request.query,
          .fields = request.fields,
          .parameters = parameters,
          .subprotocol = upgrade.subprotocol,
          .network = network_,
          .stream = stream};
}

Admission Endpoint::ask(const Handshake& handshake) {
  if (handler_.admit == nullptr) return Admission::later();
  Admission admission = handler_.admit(context_, handshake);
  const bool is_later = admission.kind_ == Admission::Kind::later;
  RT_ASSERT(!is_later || handler_.admit_later != nullptr);
  return admission;
}

// False: there is no room for it.
bool Endpoint::accept(net::Stream& stream, const Upgrade& upgrade, Handshake& handshake) noexcept {
  Connection* connection = open(stream, Role::server, upgrade.deflate, context_);
  if (connection == nullptr) return false;
  response_.clear();
  write_upgrade_response(response_, upgrade);
  stream.send_last(as_bytes(response_));
  // Frames may lie behind the request already: their pongs, or a close, come behind the answer.
  stream.fence();
  if (handler_.on_open != nullptr) handler_.on_open(*connection, handshake);
  return true;
}

runtime::Task<void> Endpoint::decide(void* endpoint, const net::http::OwnedRequest& request,
                                     net::http::DeferredResponder to) {
  auto& self = *static_cast<Endpoint*>(endpoint);
  // Checks the request again, as a copy that lives as long as this coroutine; accepted before.
  const Upgrade upgrade = check_upgrade(request.view(), self.options_.handshake);
  RT_ASSERT(upgrade.kind == UpgradeKind::accepted);
  Handshake handshake =
      self.handshake_of(request.view(), request.parameters(), upgrade, to.stream());
  Admission admission = co_await self.handler_.admit_later(self.context_, handshake);
  RT_ASSERT(admission.kind_ != Admission::Kind::later);
  if (admission.kind_ == Admission::Kind::refused) {
    to.refuse(admission.status_, {.reason = admission.reason_, .extra_fields = admission.fields_});
    co_return;
  }
  handshake.state = std::move(admission.state_);
  struct Accepting {
    Endpoint& endpoint;
    const Upgrade& upgrade;
    Handshake& handshake;
  } accepting{self, upgrade, handshake};
  to.hand_over(
      [](void* context, net::Stream& stream) noexcept {
        const auto& [by, answer, of] = *static_cast<Accepting*>(context);
        // A connection has a stream of its own, of which there are no more than connections.
        const bool has_room = by.accept(stream, answer, of);
        RT_ASSERT(has_room);
      },
      &accepting);
}

// --- Client

// A client's stream until the server has answered the handshake. Lives in connect()'s frame.
struct Endpoint::Handshaking {
  Endpoint& endpoint;
  ClientHandshake handshake;
  void* context;
  net::http::ResponseParser parser{};
  ConnectionId opened{};  // by then the connection may be gone again
  bool is_open = false;
  runtime::Error error{};
  bool done = false;
  bool looked = false;  // its deadline seems to be missed: net::Stream::look_again()
  runtime::WaitQueue waiting{};

  static Handshaking& of(net::Stream& stream) { return *static_cast<Handshaking*>(stream.owner()); }
  void finish() noexcept {
    done = true;
    waiting.wake_all(runtime::WaitQueue::Outcome::granted);
  }
  void refuse(net::Stream& stream, runtime::Error why) noexcept {
    error = why;
    stream.abort(why);
  }
  static void on_data(net::Stream& stream, const net::Received& received) noexcept {
    of(stream).read_answer(stream, received);
  }
  void read_answer(net::Stream& stream, const net::Received& received) noexcept {
    using Event = net::http::ResponseParser::Event;
    const auto progress = parser.feed(received.bytes);
    if (progress.event == Event::need_more) return;
    if (progress.event == Event::error) return refuse(stream, {ErrorCode::closed, 0});
    const int status = static_cast<int>(parser.response().status);
    const auto answer = check_upgrade_response(status, parser.response().fields, handshake);
    if (!answer) return refuse(stream, {ErrorCode::closed, status});
    Connection* connection = endpoint.open(stream, Role::client, answer->deflate, context);
    if (connection == nullptr) return refuse(stream, {ErrorCode::limit_exceeded, 0});
    opened = connection->id();
    is_open = true;
    finish();
    if (endpoint.handler_.on_open != nullptr) {
      const std::string_view target = handshake.target;
      const std::size_t mark = target.find('?');
      Handshake told{.path = target.substr(0, mark),
                     .query = mark == target.npos ? "" : target.substr(mark + 1),
                     .fields = parser.response().fields,
                     .parameters = {},
                     .subprotocol = answer->subprotocol,
                     .network = endpoint.network_,
                     .stream = stream.id()};
      endpoint.handler_.on_open(*connection, told);
    }
    const net::Received rest{.bytes = received.bytes.subspan(progress.consumed),
                             .buffer = received.buffer};
    if (!rest.bytes.empty()) connection->consume(rest);
  }
  static void on_end(net::Stream& stream) noexcept {
    of(stream).refuse(stream, {ErrorCode::closed, 0});
  }
  static void on_closed(net::Stream& stream, runtime::Error why) noexcept {
    Handshaking& self = of(stream);
    self.error = why;
    self.finish();
  }
  static void on_timer(net::Stream& stream) noexcept {
    if (stream.look_again(std::exchange(of(stream).looked, true))) return;
    of(stream).refuse(stream, {ErrorCode::timed_out, 0});
  }
  static constexpr net::StreamHandler kHandler{"handshake", on_data,  on_end,
                                               on_closed,   on_timer, nullptr};
};

namespace {

// Fields that the handshake writes itself.
bool is_of_handshake(std::string_view name) noexcept {
  using net::http::field_name_equal;
  return field_name_equal(name, "host") || field_name_equal(name, "upgrade") ||
         field_name_equal(name, "connection") || field_name_equal(name, "origin") ||
         field_name_equal(name, "content-length") || field_name_equal(name, "transfer-encoding") ||
         field_name_equal(name.substr(0, 14), "sec-websocket-");
}

bool can_be_asked(const ConnectOptions& asked) noexcept {
  using namespace net::http;
  const bool has_fields =
      std::all_of(asked.fields.begin(), asked.fields.end(), [](const Field& field) {
        return is_token(field.name) && is_field_value(field.value) && !is_of_handshake(field.name);
      });
  return has_fields && is_host(asked.host) && is_field_value(asked.origin) &&
         split_target("GET", asked.target) &&
         asked.target.find_first_of(" \t\r\n#") == std::string::npos;
}

}  // namespace

runtime::Task<Result<ConnectionId>> Endpoint::connect(runtime::Address address, std::string host,
                                                      std::string target, void* context) {
  ConnectOptions asked{.host = std::move(host), .target = std::move(target)};
  co_return co_await connect(address, std::move(asked), context);
}

runtime::Task<Result<ConnectionId>> Endpoint::connect(runtime::Address address,
                                                      ConnectOptions asked, void* context) {
  if (!can_be_asked(asked)) co_return runtime::fail(ErrorCode::invalid_argument);
  std::vector<std::string_view> subprotocols(options_.handshake.subprotocols.begin(),
                                             options_.handshake.subprotocols.end());
  Handshaking state{.endpoint = *this,
                    .handshake = {.host = asked.host,
                                  .target = asked.target,
                                  .origin = asked.origin,
                                  .subprotocols = subprotocols,
                                  .extra_fields = asked.fields,
                                  .deflate = options_.handshake.deflate,
                                  .nonce = {}},
                    .context = context};
  network_.core().random().fill(state.handshake.nonce);
  const auto stream_id = co_await network_.connect(address, Handshaking::kHandler, &state);
  if (!stream_id) co_return runtime::Unexpected{stream_id.error()};
  std::string request;
  write_upgrade_request(request, state.handshake);
  net::Stream& stream = *network_.find(*stream_id);
  stream.set_timer(kHandshakeTimeout);
  stream.send_last(as_bytes(request));
  stream.fence();
  while (!state.done) {
    runtime::WaitQueue::Waiter waiter{state.waiting};
    if (co_await waiter == runtime::WaitQueue::Outcome::cancelled) break;
  }
  if (!state.done) co_await abandon(*stream_id, state);
  if (!state.is_open) co_return runtime::Unexpected{state.error};
  co_return state.opened;
}

void Endpoint::let_go(Connection& connection, CloseCode code) noexcept {
  static constexpr net::StreamHandler kLetGo{
      "closing websocket",          [](net::Stream&, const net::Received&) noexcept {},
      [](net::Stream&) noexcept {}, [](net::Stream&, runtime::Error) noexcept {},
      [](net::Stream&) noexcept {}, nullptr};
  net::Stream& stream = connection.stream();
  connection.close(code);
  stream.set_handler(kLetGo, nullptr);
  stream.close(options_.close_timeout);
  erase(connection);
}

runtime::Task<void> Endpoint::until_empty() {
  while (connections_.count() > 0) {
    runtime::WaitQueue::Waiter waiter{empty_, runtime::WaitQueue::OnCancel::ignore};
    co_await waiter;
  }
}

// The caller was cancelled: the stream must be gone before the frame that it points to is.
runtime::Task<void> Endpoint::abandon(net::StreamId id, Handshaking& state) {
  if (net::Stream* stream = network_.find(id)) {
    stream->abort({ErrorCode::cancelled, 0});
  }
  while (!state.done) {
    runtime::WaitQueue::Waiter waiter{state.waiting, runtime::WaitQueue::OnCancel::ignore};
    co_await waiter;
  }
}

}  // namespace corelane::ws
