// A SOCKS5 proxy (RFC 1928): CONNECT to IPv4 and IPv6 addresses and to names, without
// authentication or with one user (RFC 1929). Each direction ends by itself: a half-close goes
// through, and so does the pace of the slower side.
//
//   build/release/tools/examples/socks_proxy 127.0.0.1:1080 [USER PASSWORD]
//   curl --proxy socks5h://127.0.0.1:1080 http://example.org/

#include <arpa/inet.h>
#include <fmt/core.h>

#include <csignal>
#include <string>
#include <string_view>

#include <corelane/net.hpp>
#include <corelane/runtime.hpp>

using namespace corelane;
using namespace std::string_view_literals;
using net::TcpStream;
using runtime::Error;
using runtime::ErrorCode;
using runtime::Result;
using runtime::Task;

namespace {

constexpr runtime::Nanoseconds kHelloMax = 5 * runtime::kSecond;  // until the request is read
constexpr runtime::Nanoseconds kConnectMax = 20 * runtime::kSecond;
constexpr char kVersion = 5;

struct User {
  std::string name{};  // empty: no authentication
  std::string password{};
};
struct Target {
  std::string host;  // an address as text, or a name
  std::uint16_t port;
};

// RFC 1928 section 6.
enum class Reply : char {
  succeeded = 0,
  network_unreachable = 3,
  host_unreachable = 4,
  refused = 5,
  no_such_command = 7,
  no_such_address_type = 8,
};

Reply reply_of(const Error& error) {
  if (error == Error::from_errno(ECONNREFUSED)) return Reply::refused;
  if (error == Error::from_errno(ENETUNREACH)) return Reply::network_unreachable;
  return Reply::host_unreachable;
}

// All lengths of the protocol are one byte, so no hello is longer than 1 KiB.
Task<Result<std::string>> read_text(TcpStream& client, std::size_t bytes) {
  std::string text(bytes, '\0');
  RT_TRY_VOID(co_await client.read_exactly(std::as_writable_bytes(std::span(text))));
  co_return text;
}
// One byte with the length, and the text.
Task<Result<std::string>> read_counted(TcpStream& client) {
  RT_TRY(const std::string length, co_await read_text(client, 1));
  co_return co_await read_text(client, static_cast<unsigned char>(length[0]));
}

Task<Result<void>> answer(TcpStream& client, Reply reply) {
  std::string text{"\5\0\0\1\0\0\0\0\0\0"sv};  // our address is not told: 0.0.0.0:0
  text[1] = static_cast<char>(reply);
  co_return co_await client.write_all(text);
}
Task<Result<Target>> refuse(TcpStream& client, Reply reply) {
  RT_TRY_VOID(co_await answer(client, reply));
  co_return ErrorCode::unsupported;
}

// Agrees on a method, and asks for the password if there is one.
Task<Result<void>> authenticate(TcpStream& client, const User& user) {
  RT_TRY(const std::string version, co_await read_text(client, 1));
  if (version[0] != kVersion) co_return ErrorCode::invalid_argument;
  RT_TRY(const std::string methods, co_await read_counted(client));
  const char method = user.name.empty() ? 0 : 2;
  const bool is_offered = methods.find(method) != std::string::npos;
  const std::string chosen{kVersion, is_offered ? method : '\xff'};
  RT_TRY_VOID(co_await client.write_all(chosen));
  if (!is_offered) co_return ErrorCode::unsupported;
  if (method == 0) co_return Result<void>{};

  RT_TRY_VOID(co_await read_text(client, 1));  // the version of RFC 1929
  RT_TRY(const std::string name, co_await read_counted(client));
  RT_TRY(const std::string password, co_await read_counted(client));
  const bool is_right = name == user.name && password == user.password;
  RT_TRY_VOID(co_await client.write_all(is_right ? "\1\0"sv : "\1\1"sv));
  if (!is_right) co_return ErrorCode::invalid_argument;
  co_return Result<void>{};
}

Task<Result<std::string>> read_address(TcpStream& client, int family, std::size_t bytes) {
  RT_TRY(const std::string raw, co_await read_text(client, bytes));
  std::string text(INET6_ADDRSTRLEN, '\0');
  co_return std::string(inet_ntop(family, raw.data(), text.data(), INET6_ADDRSTRLEN));
}

Task<Result<Target>> read_request(TcpStream& client, const User& user) {
  RT_TRY_VOID(co_await authenticate(client, user));
  RT_TRY(const std::string head, co_await read_text(client, 4));
  if (head[0] != kVersion) co_return ErrorCode::invalid_argument;
  if (head[1] != 1) co_return co_await refuse(client, Reply::no_such_command);
  Target target{};
  if (head[3] == 1) {
    RT_TRY(target.host, co_await read_address(client, AF_INET, 4));
  } else if (head[3] == 3) {
    RT_TRY(target.host, co_await read_counted(client));
  } else if (head[3] == 4) {
    RT_TRY(target.host, co_await read_address(client, AF_INET6, 16));
  } else {
    co_return co_await refuse(client, Reply::no_such_address_type);
  }
  RT_TRY(const std::string port, co_await read_text(client, 2));
  target.port = static_cast<std::uint16_t>(static_cast<unsigned char>(port[0]) << 8 |
                                           static_cast<unsigned char>(port[1]));
  co_return target;
}

Task<void> talk(TcpStream client, const User* user) {
  const auto target = co_await with_timeout(kHelloMax, read_request(client, *user));
  if (!target) co_return;
  auto server = co_await with_timeout(kConnectMax, net::connect(target->host, target->port));
  const auto told = co_await answer(client, server ? Reply::succeeded : reply_of(server.error()));
  if (!server || !told) co_return;
  // Ends with both directions, or with the first that breaks.
  const auto done =
      co_await runtime::try_all(net::splice(client, *server), net::splice(*server, client));
  if (done) co_return;
  client.abort();
  server->abort();
}

Task<int> serve(runtime::Address address, User user, const runtime::BlockedSignals& blocked) {
  auto listener = net::TcpListener::listen(address);
  if (!listener) {
    fmt::print(stderr, "cannot listen: {}\n", describe(listener.error()));
    co_return 1;
  }
  fmt::print("listening on {}\n", listener->address()->text());
  std::fflush(stdout);
  runtime::SignalStream signals(blocked);  // one of them cancels the connections
  auto serving = net::serve(*listener, "talk", talk, static_cast<const User*>(&user));
  static_cast<void>(co_await runtime::when_any(std::move(serving), signals.next()));
  co_return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const auto address = runtime::Address::parse(argc > 1 ? argv[1] : "127.0.0.1:1080");
  if (!address || argc == 3 || argc > 4) return 2;
  User user;
  if (argc == 4) user = {argv[2], argv[3]};
  const runtime::BlockedSignals blocked({SIGINT, SIGTERM});
  runtime::Runtime cores({.cores = 1});
  return cores.run([&] { return serve(*address, user, blocked); }).value_or(1);
}
