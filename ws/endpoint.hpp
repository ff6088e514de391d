#pragma once
// Endpoint: what all WebSocket connections of one kind on one core share: policy, limits, handler,
// their table. Made, used and destroyed there, after its network has been shut down; a network may
// have several, and each connection belongs to one.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "net/http/message.hpp"
#include "net/http/server.hpp"
#include "net/network.hpp"
#include "runtime/slab.hpp"
#include "runtime/task.hpp"
#include "runtime/wait_queue.hpp"
#include "ws/admission.hpp"
#include "ws/connection.hpp"
#include "ws/handshake.hpp"

namespace corelane::ws {

// The kinds of messages that an endpoint takes, as bits of MessageKind. Another one is 1003.
enum class Messages : std::uint8_t { text = 1, binary = 2, any = 3 };
constexpr bool takes(Messages messages, MessageKind kind) noexcept {
  return (static_cast<unsigned>(messages) & static_cast<unsigned>(kind)) != 0;
}

struct EndpointOptions {
  HandshakePolicy handshake{};
  ReaderLimits reader{};
  Messages messages = Messages::any;
  runtime::Nanoseconds admit_deadline = 10 * runtime::kSecond;  // ConnectionHandler::admit_later
  // For an unfinished message; starts again when reading resumes after a pause.
  runtime::Nanoseconds message_deadline = 30 * runtime::kSecond;
  runtime::Nanoseconds close_timeout = 5 * runtime::kSecond;
  runtime::Nanoseconds ping_interval = 25 * runtime::kSecond;  // 0: never
  runtime::Nanoseconds pong_timeout = 10 * runtime::kSecond;
  std::uint32_t pings_per_second_max = 1000;  // from a peer; more is 1008
  std::size_t deflate_bytes_min = 64;         // smaller messages go out uncompressed
};

// What a client's handshake asks for, beside the subprotocols and extensions of the options. The
// texts are sent as they are.
struct ConnectOptions {
  std::string host{};                      // with the port unless it is the scheme's own
  std::string target{"/"};                 // path and query
  std::string origin{};                    // empty: none is sent
  std::vector<net::http::Field> fields{};  // more fields; what they view outlives the handshake
};

class Endpoint {
 public:
  Endpoint(net::Network& network, EndpointOptions options, const ConnectionHandler& handler,
           void* context);
  ~Endpoint();
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;

  net::Network& network() noexcept { return network_; }
  const EndpointOptions& options() const noexcept { return options_; }
  // HandshakePolicy::allow_origins, for handshakes from now on.
  void allow_origins(const std::vector<std::string>& entries) {
    options_.handshake.allow_origins(entries);
  }
  void* context() const noexcept { return context_; }

  // The hook of net::http::Server for one that speaks on every path (context: the Endpoint); see
  // EndpointRoutes for several.
  static net::http::UpgradeOutcome upgrade(void* endpoint, net::Stream& stream,
                                           const net::http::Request& request);
  // Checks the handshake, has the handler decide about it, answers it and takes the stream over.
  // `match` stays until the next request of the server.
  net::http::UpgradeOutcome answer(net::Stream& stream, const net::http::Request& request,
                                   const net::http::RouteMatch& match);

  // Connects to a server and does the handshake. The subprotocols and extensions offered are those
  // of the options. Errors: errnos of connect(2), timed_out, cancelled, invalid_argument for a
  // field that cannot be sent or that the handshake writes itself, and `closed` for an answer that
  // is not a WebSocket's, with its status (0: no HTTP at all) as detail. `context` becomes the
  // connection's; on_open is called before this returns.
  runtime::Task<runtime::Result<ConnectionId>> connect(runtime::Address address,
                                                       ConnectOptions asked, void* context);
  runtime::Task<runtime::Result<ConnectionId>> connect(runtime::Address address, std::string host,
                                                       std::string target, void* context);

  // Says `code` and ends the stream in the background, without the peer's answer: for an owner that
  // ends now. The connection is gone, and on_close is not called. Not in a callback of it.
  void let_go(Connection& connection, CloseCode code) noexcept;

  Connection* find(ConnectionId id) noexcept { return connections_.get({id.slot, id.generation}); }
  std::uint32_t connection_count() const noexcept { return connections_.count(); }
  // Returns when no connection is left. Cannot be cancelled.
  runtime::Task<void> until_empty();
  template <class Visit>
  void for_each(Visit&& visit) {
    connections_.for_each([&](auto, Connection& connection) { visit(connection); });
  }

  // For walks in several steps: slots 0 to slots() - 1; null if there is none in a slot.
  std::uint32_t slots() const noexcept { return connections_.slots(); }
  Connection* in_slot(std::uint32_t slot) noexcept { return connections_.in_slot(slot); }

  struct Counters {
    std::uint64_t opened = 0;
    std::uint64_t closed = 0;
    std::uint64_t messages_received = 0;
    std::uint64_t slow_readers = 0;
    std::uint64_t protocol_errors = 0;  // closed with 1002, 1007 or 1009
    std::uint64_t pong_timeouts = 0;
  };
  const Counters& counters() const noexcept { return counters_; }

 private:
  friend class Connection;
  struct KeptBytes;
  struct Handshaking;

  Connection* open(net::Stream& stream, Role role, const std::optional<DeflateParameters>& deflate,
                   void* context);
  Handshake handshake_of(const net::http::Request& request,
                         std::span<const net::http::RouteMatch::Parameter> parameters,
                         const Upgrade& upgrade, net::StreamId stream) noexcept;
  Admission ask(const Handshake& handshake);
  bool accept(net::Stream& stream, const Upgrade& upgrade, Handshake& handshake) noexcept;
  static runtime::Task<void> decide(void* endpoint, const net::http::OwnedRequest& request,
                                    net::http::DeferredResponder to);
  void erase(Connection& connection) noexcept;
  runtime::Task<void> abandon(net::StreamId id, Handshaking& state);
  MaskKey next_mask_key() noexcept;
  std::uint32_t tick() const noexcept;  // now, in eighths of a second, never 0
  Inflater& shared_inflater();
  Deflater& shared_deflater();
  std::unique_ptr<Deflater> make_deflater(const Connection::Compression& of) const;
  KeptBytes& keep(OwnedBytes bytes);

  net::Network& network_;
  EndpointOptions options_;
  const ConnectionHandler handler_;
  void* context_;
  const net::http::RouteHandler deciding_;  // for handshakes that admit_later decides about
  runtime::Slab<Connection> connections_;
  runtime::WaitQueue empty_;            // until_empty()
  std::unique_ptr<Inflater> inflater_;  // for peers without context takeover
  std::unique_ptr<Deflater> deflater_;
  KeptBytes* spare_kept_ = nullptr;  // a list
  std::string response_;             // a handshake's answer while it is written
  Admission refusal_;                // of the handshake that is being refused
  Counters counters_;
};

}  // namespace corelane::ws
