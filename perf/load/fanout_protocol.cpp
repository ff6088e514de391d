#include "perf/load/fanout_protocol.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "perf/load/message_ring.hpp"
#include "perf/load/opcode_protocol.hpp"
#include "perf/load/websocket_units.hpp"

namespace corelane::perf {
namespace {

using Kind = Unit::Kind;
using Bytes = std::span<const std::byte>;

void append(std::vector<std::byte>& to, std::string_view text) {
  const auto bytes = std::as_bytes(std::span{text});
  to.insert(to.end(), bytes.begin(), bytes.end());
}
void append(std::vector<std::byte>& to, Bytes bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

std::string_view as_text(Bytes bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Whole WebSocket messages, one frame each; the path tells publishers from subscribers.
class RawWebSocket final : public FanoutProtocol {
 public:
  explicit RawWebSocket(std::size_t payload_bytes) noexcept : payload_bytes_(payload_bytes) {}

  void greet(std::vector<std::byte>&, Role) const override {}
  bool is_confirmed_in_stream(Role) const override { return false; }
  std::string_view path(Role role) const override {
    return role == Role::subscriber ? "/sub" : "/pub";
  }
  void publish(std::vector<std::byte>& to, Bytes payload) const override {
    append_client_frame(to, ws::Opcode::binary, payload);
  }
  void answer_ping(std::vector<std::byte>& to, Bytes payload) const override {
    append_client_frame(to, ws::Opcode::pong, payload);
  }
  Unit parse(Bytes bytes, State&) const override {
    ws::FrameHeader header;
    Unit unit = parse_server_frame(bytes, header);
    if (unit.kind != Kind::delivery) return unit;
    if (header.payload_bytes != payload_bytes_) return {.kind = Kind::wrong};
    unit.consumed = header.header_bytes + payload_bytes_;
    if (bytes.size() < unit.consumed) return {};
    unit.payload = bytes.subspan(header.header_bytes, payload_bytes_);
    return unit;
  }
  bool may_be_delivery(std::byte first, State) const override { return !begins_control(first); }

 private:
  std::size_t payload_bytes_;
};

// Messages of a fixed size, one after the other; the first byte tells publishers from subscribers.
class RawTcp final : public FanoutProtocol {
 public:
  explicit RawTcp(std::size_t payload_bytes) noexcept : payload_bytes_(payload_bytes) {}

  void greet(std::vector<std::byte>& to, Role role) const override {
    append(to, role == Role::subscriber ? "S" : "P");
  }
  bool is_confirmed_in_stream(Role) const override { return true; }
  void publish(std::vector<std::byte>& to, Bytes payload) const override { append(to, payload); }
  void answer_ping(std::vector<std::byte>&, Bytes) const override {}
  Unit parse(Bytes bytes, State& state) const override {
    if (bytes.empty()) return {};
    if (state == 0) {
      if (as_text(bytes)[0] != 'S' && as_text(bytes)[0] != 'P') return {.kind = Kind::wrong};
      state = 1;
      return {.kind = Kind::confirmed, .consumed = 1};
    }
    if (bytes.size() < payload_bytes_) return {};
    return {
        .kind = Kind::delivery, .consumed = payload_bytes_, .payload = bytes.first(payload_bytes_)};
  }
  bool may_be_delivery(std::byte, State state) const override { return state != 0; }

 private:
  std::size_t payload_bytes_;
};

// https://docs.nats.io/reference/reference-protocols/nats-protocol
class Nats final : public FanoutProtocol {
 public:
  Nats(std::size_t payload_bytes, std::string_view channel)
      : payload_bytes_(payload_bytes),
        channel_(channel),
        publish_head_(fmt::format("PUB {} {}\r\n", channel, payload_bytes)),
        delivery_head_(fmt::format("MSG {} 1 {}\r\n", channel, payload_bytes)) {}

  void greet(std::vector<std::byte>& to, Role role) const override {
    append(to, "CONNECT {\"verbose\":false,\"pedantic\":false,\"name\":\"corelane-load\"}\r\n");
    if (role == Role::subscriber) append(to, fmt::format("SUB {} 1\r\n", channel_));
    append(to, "PING\r\n");
  }
  bool is_confirmed_in_stream(Role) const override { return true; }
  void publish(std::vector<std::byte>& to, Bytes payload) const override {
    append(to, publish_head_);
    append(to, payload);
    append(to, "\r\n");
  }
  void answer_ping(std::vector<std::byte>& to, Bytes) const override { append(to, "PONG\r\n"); }
  Unit parse(Bytes bytes, State&) const override {
    const std::string_view text = as_text(bytes);
    const std::size_t end = text.find("\r\n");
    if (end == std::string_view::npos) return {};
    const std::string_view line = text.substr(0, end + 2);
    if (line.starts_with("MSG ")) return parse_delivery(bytes, line);
    if (line == "PONG\r\n") return {.kind = Kind::confirmed, .consumed = line.size()};
    if (line == "PING\r\n") return {.kind = Kind::ping, .consumed = line.size()};
    if (line.starts_with("-ERR")) {
      return {.kind = Kind::refused, .consumed = line.size(), .payload = bytes.first(end)};
    }
    const bool is_known = line.starts_with("INFO ") || line == "+OK\r\n";
    return {.kind = is_known ? Kind::skipped : Kind::wrong, .consumed = line.size()};
  }
  bool may_be_delivery(std::byte first, State) const override { return first == std::byte{'M'}; }

 private:
  Unit parse_delivery(Bytes bytes, std::string_view line) const {
    if (line != delivery_head_) return {.kind = Kind::wrong};
    const std::size_t whole = line.size() + payload_bytes_ + 2;
    if (bytes.size() < whole) return {};
    return {.kind = Kind::delivery,
            .consumed = whole,
            .payload = bytes.subspan(line.size(), payload_bytes_)};
  }

  std::size_t payload_bytes_;
  std::string channel_;
  std::string publish_head_;
  std::string delivery_head_;
};

// https://redis.io/docs/latest/develop/interact/pubsub/ in RESP2.
class Resp final : public FanoutProtocol {
 public:
  Resp(std::size_t payload_bytes, std::string_view channel)
      : payload_bytes_(payload_bytes),
        channel_(channel),
        publish_head_(fmt::format("*3\r\n$7\r\nPUBLISH\r\n${}\r\n{}\r\n${}\r\n", channel.size(),
                                  channel, payload_bytes)),
        delivery_head_(fmt::format("*3\r\n$7\r\nmessage\r\n${}\r\n{}\r\n${}\r\n", channel.size(),
                                   channel, payload_bytes)),
        confirmation_(
            fmt::format("*3\r\n$9\r\nsubscribe\r\n${}\r\n{}\r\n:1\r\n", channel.size(), channel)) {}

  void greet(std::vector<std::byte>& to, Role role) const override {
    if (role == Role::publisher) return;
    append(to, fmt::format("*2\r\n$9\r\nSUBSCRIBE\r\n${}\r\n{}\r\n", channel_.size(), channel_));
  }
  bool is_confirmed_in_stream(Role role) const override { return role == Role::subscriber; }
  void publish(std::vector<std::byte>& to, Bytes payload) const override {
    append(to, publish_head_);
    append(to, payload);
    append(to, "\r\n");
  }
  void answer_ping(std::vector<std::byte>&, Bytes) const override {}
  Unit parse(Bytes bytes, State&) const override {
    const std::string_view text = as_text(bytes);
    if (text.starts_with(delivery_head_)) {
      const std::size_t whole = delivery_head_.size() + payload_bytes_ + 2;
      if (bytes.size() < whole) return {};
      return {.kind = Kind::delivery,
              .consumed = whole,
              .payload = bytes.subspan(delivery_head_.size(), payload_bytes_)};
    }
    if (text.starts_with(confirmation_)) {
      return {.kind = Kind::confirmed, .consumed = confirmation_.size()};
    }
    if (std::string_view{delivery_head_}.starts_with(text) ||
        std::string_view{confirmation_}.starts_with(text)) {
      return {};
    }
    const std::size_t end = text.find("\r\n");
    if (text[0] == ':' || text[0] == '-') {
      if (end == std::string_view::npos) return {};
      // The number of receivers, for the publisher.
      if (text[0] == ':') return {.kind = Kind::skipped, .consumed = end + 2};
      return {.kind = Kind::refused, .consumed = end + 2, .payload = bytes.first(end)};
    }
    return {.kind = Kind::wrong};
  }
  bool may_be_delivery(std::byte first, State) const override { return first == std::byte{'*'}; }

 private:
  std::size_t payload_bytes_;
  std::string channel_;
  std::string publish_head_;
  std::string delivery_head_;
  std::string confirmation_;
};

}  // namespace

std::unique_ptr<FanoutProtocol> make_fanout_protocol(const Settings& settings,
                                                     std::string_view channel) {
  const bool is_websocket = settings.target.scheme == Scheme::ws;
  const std::size_t bytes = settings.payload_bytes;
  switch (settings.protocol) {
    case Protocol::raw:
      if (is_websocket) return std::make_unique<RawWebSocket>(bytes);
      return std::make_unique<RawTcp>(bytes);
    case Protocol::opcode:
      return make_opcode_protocol(is_websocket, channel);
    case Protocol::nats:
      return is_websocket ? nullptr : std::make_unique<Nats>(bytes, channel);
    case Protocol::resp:
      return is_websocket ? nullptr : std::make_unique<Resp>(bytes, channel);
  }
  return nullptr;
}

}  // namespace corelane::perf
