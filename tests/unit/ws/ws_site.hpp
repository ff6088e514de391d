#pragma once
// A WebSocket site on one core, for tests over either ring: an HTTP server whose upgrades go to an
// Endpoint, a Witness as its handler, and raw clients that send any bytes and keep what comes back
// as frames.

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/support/http_site.hpp"
#include "tests/unit/ws/wire.hpp"
#include "ws/endpoint.hpp"

namespace corelane::tests {

// A handler that echoes, unless told otherwise, and holds every connection to the order: on_open
// once, then messages, then on_close once. Lives as long as the endpoint, whose context it is.
struct Witness {
  struct End {
    ws::CloseCode code;
    std::string reason;
    friend bool operator==(const End&, const End&) = default;
  };

  std::function<void(ws::Connection&)> when_open;
  std::function<void(ws::Connection&, ws::Message&)> when_message;  // empty: echo
  std::set<std::pair<std::uint32_t, std::uint32_t>> open;
  std::vector<End> ends;
  std::uint64_t opened = 0;
  std::uint64_t messages = 0;
  runtime::WaitQueue changed;

  static std::pair<std::uint32_t, std::uint32_t> key(ws::Connection& connection) {
    return {connection.id().slot, connection.id().generation};
  }
  static Witness& of(ws::Connection& connection) {
    return *static_cast<Witness*>(connection.endpoint().context());
  }
  void wake() { changed.wake_all(runtime::WaitQueue::Outcome::granted); }

  static void on_open(ws::Connection& connection, ws::Handshake&) noexcept {
    Witness& self = of(connection);
    EXPECT_TRUE(self.open.insert(key(connection)).second) << "on_open was called twice";
    ++self.opened;
    if (self.when_open) self.when_open(connection);
    self.wake();
  }
  static void on_message(ws::Connection& connection, ws::Message& message) noexcept {
    Witness& self = of(connection);
    EXPECT_TRUE(self.open.contains(key(connection))) << "a message of a closed connection";
    EXPECT_FALSE(connection.closing()) << "a message after close";
    ++self.messages;
    if (self.when_message) {
      self.when_message(connection, message);
    } else {
      connection.echo(message);
    }
    self.wake();
  }
  static void on_close(ws::Connection& connection, ws::CloseCode code,
                       std::string_view reason) noexcept {
    Witness& self = of(connection);
    EXPECT_EQ(self.open.erase(key(connection)), 1u) << "on_close was called twice";
    self.ends.push_back({.code = code, .reason = std::string{reason}});
    self.wake();
  }
  static constexpr ws::ConnectionHandler kHandler{on_open, on_message, on_close};

  runtime::Task<void> until(std::function<bool()> condition) {
    while (!condition()) {
      runtime::WaitQueue::Waiter waiter{changed};
      co_await waiter;
    }
  }
  runtime::Task<void> until_ends(std::size_t count) {
    return until([this, count] { return ends.size() >= count; });
  }
};

struct WsSiteOptions {
  net::NetworkOptions network{.receive_buffers = 64};
  net::http::ServerOptions server;
  ws::EndpointOptions endpoint;
  ws::ConnectionHandler handler = Witness::kHandler;
};

struct WsSite {
  net::Network& network;
  net::http::Server& server;
  ws::Endpoint& endpoint;
  Witness& witness;
  runtime::Address address;

  // The only connection of the server's.
  ws::Connection& connection() {
    ws::Connection* found = nullptr;
    endpoint.for_each([&](ws::Connection& each) {
      EXPECT_EQ(found, nullptr);
      found = &each;
    });
    if (found == nullptr) std::abort();
    return *found;
  }
};

inline runtime::Task<void> serve_ws_site(WsSiteOptions options,
                                         const std::function<runtime::Task<void>(WsSite&)>& body) {
  net::Network network(options.network);
  Witness witness;
  {
    ws::Endpoint endpoint(network, options.endpoint, options.handler, &witness);
    options.server.upgrade = ws::Endpoint::upgrade;
    options.server.upgrade_context = &endpoint;
    net::http::Server server(network, options.server, routes());
    const auto listener = network.listen(*runtime::Address::parse("127.0.0.1:0"), {},
                                         net::http::Server::accept, &server);
    EXPECT_TRUE(listener) << describe(listener.error());
    if (!listener) co_return;
    WsSite site{network, server, endpoint, witness, *network.address_of(*listener)};
    co_await body(site);
    co_await network.shutdown();
    EXPECT_EQ(network.stream_count(), 0u);
    EXPECT_EQ(server.connection_count(), 0u);
    EXPECT_EQ(endpoint.connection_count(), 0u);
    EXPECT_EQ(endpoint.counters().opened, endpoint.counters().closed);
  }
  EXPECT_EQ(witness.opened, witness.ends.size());
  EXPECT_TRUE(witness.open.empty());
  // That all receive buffers are home is asserted by the network's pool when it goes.
}

// `body` runs beside the server; its clients outlive it.
inline void run_ws_site(const WsSiteOptions& options,
                        const std::function<runtime::Task<void>(WsSite&)>& body,
                        const runtime::RuntimeOptions& runtime_options = small_options(1)) {
  run_on_cores(runtime_options, [&options, &body] { return serve_ws_site(options, body); });
}

inline std::string ws_handshake(std::string_view fields = "") {
  return "GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n" +
         std::string{fields} + "\r\n";
}
inline constexpr std::string_view kOfferDeflate =
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";

struct WireFrame {
  unsigned opcode = 0;
  std::string payload;
  bool is_final = true;
  bool rsv1 = false;
  friend bool operator==(const WireFrame&, const WireFrame&) = default;
};
inline void PrintTo(const WireFrame& frame, std::ostream* to) {
  *to << frame.opcode << (frame.is_final ? "" : "+") << (frame.rsv1 ? "z" : "") << ':'
      << testing::PrintToString(frame.payload.substr(0, 100)) << '(' << frame.payload.size() << ')';
}
inline WireFrame close_frame(unsigned code, std::string_view reason = "") {
  return {.opcode = 8, .payload = wire::close_payload(code, reason)};
}

// A raw client: any bytes out, a response's head and frames in. A server's frame that is masked or
// has a wrong length form is a failure of the test.
struct WsClient : HttpClient {
  std::string head;
  std::vector<WireFrame> frames;
  std::size_t parsed = 0;
  bool has_closed = false;  // send_frame() has sent a close frame

  // Connects and does the handshake; `behind` goes out in the same send.
  runtime::Task<void> open(WsSite& site, std::string fields = "", std::string behind = "") {
    co_await connect(site.network, site.address);
    send(ws_handshake(fields) + behind);
    co_await until([this] { return !head_of().empty(); });
    EXPECT_TRUE(head_of().starts_with("HTTP/1.1 101 ")) << received;
  }
  std::string_view head_of() {
    if (head.empty()) {
      const std::size_t end = received.find("\r\n\r\n");
      if (end == std::string::npos) return {};
      head = received.substr(0, end + 4);
      parsed = head.size();
    }
    return head;
  }
  // All whole frames so far.
  const std::vector<WireFrame>& parse() {
    while (!head_of().empty()) {
      const std::string_view rest = std::string_view{received}.substr(parsed);
      const auto byte = [&rest](std::size_t at) { return static_cast<unsigned char>(rest[at]); };
      if (rest.size() < 2) break;
      std::size_t start = 2;
      std::uint64_t size = byte(1);
      EXPECT_LT(size, 128u) << "a server's frame is masked";
      if (size >= 126) {
        start = size == 126 ? 4 : 10;
        if (rest.size() < start) break;
        size = 0;
        for (std::size_t i = 2; i < start; ++i) size = size << 8 | byte(i);
        EXPECT_GE(size, start == 4 ? 126u : 65536u) << "a length in too long a form";
      }
      if (rest.size() - start < size) break;
      frames.push_back({.opcode = byte(0) & 15u,
                        .payload = std::string{rest.substr(start, size)},
                        .is_final = (byte(0) & 0x80) != 0,
                        .rsv1 = (byte(0) & 0x40) != 0});
      EXPECT_EQ(byte(0) & 0x30, 0);
      parsed += start + size;
    }
    return frames;
  }
  runtime::Task<void> until_frames(std::size_t count) {
    return until([this, count] { return parse().size() >= count; });
  }
  // Everything that came was whole frames.
  void expect_nothing_more(std::size_t count) {
    EXPECT_EQ(parse().size(), count);
    EXPECT_EQ(parsed, received.size());
  }
  void send_frame(const wire::FrameSpec& spec) {
    send(wire::frame(spec));
    has_closed = has_closed || spec.opcode == 8;
  }
  bool is_told() {
    if (!head_of().starts_with("HTTP/1.1 101 ")) return false;
    for (const WireFrame& each : parse()) {
      if (each.opcode == 8) return true;
    }
    return false;
  }
  // Answers the server's close frame, as a client must (RFC 6455 section 5.5.1).
  runtime::Task<void> until_closed() {
    co_await until([this] { return is_told(); });
    if (!closed && !has_closed) send_frame({.opcode = 8, .payload = frames.back().payload});
    co_await HttpClient::until_closed();
  }
  // In one piece, whatever its size; the queue has room for it.
  void send_at_once(std::string_view bytes) {
    EXPECT_TRUE(stream()->send_copy(std::as_bytes(std::span{bytes})));
  }
  void abort() {
    if (net::Stream* to = stream()) to->abort();
  }
};

// A WebSocket connection's other life: an answer of the test's own to whatever handshake comes.
struct FakeServer {
  std::function<std::string(const std::string& request)> answer;  // empty text: says nothing
  bool ends = false;                                              // closes behind its answer
  std::string request;

  static FakeServer& of(net::Stream& stream) { return *static_cast<FakeServer*>(stream.owner()); }
  static void on_data(net::Stream& stream, const net::Received& got) noexcept {
    FakeServer& self = of(stream);
    self.request.append(reinterpret_cast<const char*>(got.bytes.data()), got.bytes.size());
    if (!self.request.ends_with("\r\n\r\n")) return;
    const std::string text = self.answer(self.request);
    EXPECT_TRUE(stream.send_copy(std::as_bytes(std::span{text})));
    if (self.ends) stream.close(0);
  }
  static void on_end(net::Stream& stream) noexcept { stream.close(0); }
  static void on_closed(net::Stream&, runtime::Error) noexcept {}
  static void on_timer(net::Stream&) noexcept {}
  static constexpr net::StreamHandler kHandler{"fake server", on_data,  on_end,
                                               on_closed,     on_timer, nullptr};
  static bool accept(void* context, net::Stream& stream) noexcept {
    stream.set_handler(kHandler, context);
    return true;
  }
  runtime::Address listen(net::Network& network) {
    const auto listener = network.listen(*runtime::Address::parse("127.0.0.1:0"), {}, accept, this);
    EXPECT_TRUE(listener);
    return *network.address_of(*listener);
  }
  // A 101 with the right key, and `fields`.
  static std::string accepting(const std::string& request, std::string_view fields = "") {
    constexpr std::string_view kName = "Sec-WebSocket-Key: ";
    const std::string key = request.substr(request.find(kName) + kName.size(), 24);
    const auto accept_key = ws::accept_key_of(key);
    return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Accept: " +
           std::string(accept_key.data(), accept_key.size()) + "\r\n" + std::string{fields} +
           "\r\n";
  }
};

}  // namespace corelane::tests
