// A client of Corelane in C++, on nothing but what flatc generates and FlatBuffers' headers. It
// speaks the same frames over plain TCP, so that it needs no WebSocket library.
//
//     flatc --cpp -o generated protocol/schema.fbs
//     c++ -std=c++17 -Igenerated client.cpp -o client && ./client 127.0.0.1 9000
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "schema_generated.h"

namespace {

namespace fbs = protocol::fbs;
using Bytes = std::vector<std::uint8_t>;
using Id = std::array<std::uint8_t, 16>;  // in the order of the text form

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "client: %s\n", what);
  std::exit(1);
}

static_assert(sizeof(fbs::UUID) == sizeof(Id));

fbs::UUID to_wire(const Id& id) {
  fbs::UUID wire;
  std::memcpy(static_cast<void*>(&wire), id.data(), id.size());
  return wire;
}

Id id_of(const fbs::UUID* wire) {
  Id id{};
  if (wire != nullptr) std::memcpy(id.data(), wire, id.size());
  return id;
}

Id random_id() {
  static std::random_device random;  // tidy: allow banned_call: a program without our libraries
  Id id;
  std::generate(id.begin(), id.end(), [] { return static_cast<std::uint8_t>(random()); });
  return id;
}

std::string text(const flatbuffers::Vector<std::uint8_t>* data) {
  return data == nullptr ? std::string() : std::string(data->begin(), data->end());
}

flatbuffers::Offset<flatbuffers::Vector<std::uint8_t>> bytes(
    flatbuffers::FlatBufferBuilder& builder, const std::string& data) {
  return builder.CreateVector(reinterpret_cast<const std::uint8_t*>(data.data()), data.size());
}

std::uint16_t port_of(std::string_view text) {
  std::uint16_t port = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), port).ec != std::errc())
    fail("no port");
  return port;
}

// A payload: a FlatBuffer of its own, whose type the opcode names.
template <class Build>
Bytes payload(Build build) {
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(build(builder));
  return {builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()};
}

// A frame as it came, its size included: fields are aligned to the start of the frame. And the
// payload in it, verified.
struct Arrived {
  Bytes bytes;
  const fbs::Message& message() const { return *fbs::GetSizePrefixedMessage(bytes.data()); }
  template <class T>
  const T& as() {
    content.assign(message().payload()->begin(), message().payload()->end());
    flatbuffers::Verifier verifier(content.data(), content.size());
    if (!verifier.VerifyBuffer<T>()) fail("a payload that is none");
    return *flatbuffers::GetRoot<T>(content.data());
  }
  Bytes content;
};

class Client {
 public:
  Client(const char* host, const char* port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port_of(port));
    if (::inet_pton(AF_INET, host, &address.sin_addr) != 1) fail("no IPv4 address");
    if (::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
      fail("cannot connect");
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client() { ::close(socket_); }

  Id send(fbs::Opcode opcode, const Bytes& content = {}) {
    const Id id = random_id();
    const fbs::UUID wire_id = to_wire(id);
    flatbuffers::FlatBufferBuilder builder;
    const auto data = builder.CreateVector(content);
    builder.FinishSizePrefixed(fbs::CreateMessage(builder, opcode, &wire_id, data));
    for (std::size_t sent = 0; sent < builder.GetSize();) {
      const ssize_t count = ::send(socket_, builder.GetBufferPointer() + sent,
                                   builder.GetSize() - sent, MSG_NOSIGNAL);
      if (count <= 0) fail("cannot send");
      sent += static_cast<std::size_t>(count);
    }
    return id;
  }

  Arrived ask(fbs::Opcode opcode, const Bytes& content = {}) {
    const Id id = send(opcode, content);
    return take(
        [&id](const fbs::Message& message) { return id_of(message.transaction_id()) == id; });
  }

  Arrived next(fbs::Opcode opcode) {
    return take([opcode](const fbs::Message& message) { return message.opcode() == opcode; });
  }

 private:
  // Replies are matched by transaction id; what nobody asked for waits until somebody takes it.
  Arrived take(const std::function<bool(const fbs::Message&)>& fits) {
    for (;;) {
      for (auto it = arrived_.begin(); it != arrived_.end(); ++it) {
        if (!fits(it->message())) continue;
        Arrived found = std::move(*it);
        arrived_.erase(it);
        return found;
      }
      receive();
    }
  }

  void receive() {
    std::array<std::uint8_t, 4> prefix{};
    read_exactly(prefix.data(), prefix.size());
    const auto size = flatbuffers::ReadScalar<std::uint32_t>(prefix.data());
    if (size > (1U << 20)) fail("a frame that is too large");
    Arrived one{Bytes(prefix.size() + size), {}};
    std::copy(prefix.begin(), prefix.end(), one.bytes.begin());
    read_exactly(one.bytes.data() + prefix.size(), size);
    flatbuffers::Verifier verifier(one.bytes.data(), one.bytes.size());
    if (!fbs::VerifySizePrefixedMessageBuffer(verifier)) fail("a frame that holds no message");
    arrived_.push_back(std::move(one));
  }

  void read_exactly(std::uint8_t* to, std::size_t wanted) {
    while (wanted > 0) {
      const ssize_t count = ::recv(socket_, to, wanted, 0);
      if (count <= 0) fail("the server has gone");
      to += count;
      wanted -= static_cast<std::size_t>(count);
    }
  }

  int socket_;
  std::deque<Arrived> arrived_;
};

Bytes send_request(const Id& session, const std::string& data) {
  return payload([&](auto& builder) {
    const fbs::UUID wire = to_wire(session);
    return fbs::CreateSendRequest(builder, &wire, bytes(builder, data), true);
  });
}

void talk(Client& client) {
  Arrived reply = client.ask(fbs::Opcode_WhoAmI);
  const auto& me = reply.as<fbs::WhoAmIReply>();
  const Id session = id_of(me.session());
  std::printf("whoami %s %d\n", fbs::EnumNameTransport(me.transport()), session[6] >> 4);

  reply = client.ask(fbs::Opcode_Ping, payload([](auto& builder) {
                       return fbs::CreatePingRequest(builder, bytes(builder, "hello"));
                     }));
  std::printf("pong %s\n", text(reply.as<fbs::PongReply>().data()).c_str());

  reply = client.ask(fbs::Opcode_ClientSubscribe, payload([](auto& builder) {
                       const std::vector<std::string> names{"news", "sports"};
                       return fbs::CreateSubscribeRequest(builder,
                                                          builder.CreateVectorOfStrings(names));
                     }));
  std::printf("subscribed");
  for (const fbs::ChannelResult* result : *reply.as<fbs::SubscribeReply>().results()) {
    std::printf(" %s", fbs::EnumNameErrorCode(result->code()));
  }

  reply = client.ask(fbs::Opcode_Publish, payload([](auto& builder) {
                       const auto channel = builder.CreateString("news");
                       return fbs::CreatePublishRequest(builder, channel, bytes(builder, "first"),
                                                        true);
                     }));
  const auto& ack = reply.as<fbs::AckReply>();
  std::printf("\nack %llu %u\n", static_cast<unsigned long long>(ack.offset()), ack.delivered());
  reply = client.next(fbs::Opcode_Event);
  const auto& event = reply.as<fbs::ChannelEvent>();
  std::printf("event %s %llu %s\n", event.channel()->c_str(),
              static_cast<unsigned long long>(event.offset()), text(event.data()).c_str());

  client.ask(fbs::Opcode_Send, send_request(session, "to you"));
  reply = client.next(fbs::Opcode_DirectMessage);
  const auto& direct = reply.as<fbs::DirectEvent>();
  std::printf("direct %s %s\n", text(direct.data()).c_str(),
              id_of(direct.from()) == session ? "true" : "false");

  client.send(fbs::Opcode_Broadcast, payload([](auto& builder) {
                return fbs::CreateBroadcastRequest(builder, bytes(builder, "to all"), false, true);
              }));
  reply = client.next(fbs::Opcode_BroadcastMessage);
  const auto& everyone = reply.as<fbs::BroadcastEvent>();
  std::printf("broadcast %s %s\n", text(everyone.data()).c_str(),
              id_of(everyone.from()) == session ? "true" : "false");

  reply = client.ask(fbs::Opcode_Send, send_request(random_id(), "to nobody"));
  const auto& error = reply.as<fbs::ErrorReply>();
  std::printf("%s %s %d\n", reply.message().opcode() == fbs::Opcode_Error ? "error" : "?",
              fbs::EnumNameErrorCode(error.code()), error.failed_opcode());
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) fail("use: client HOST PORT");
  Client client(arguments[1], arguments[2]);
  talk(client);
}
