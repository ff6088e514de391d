// A peer: tools/examples/socks_proxy.cpp on Boost.Asio's coroutines.
//
//   asio_socks_proxy ADDRESS:PORT [USER PASSWORD]

#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/as_tuple.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "perf/peers/asio_listen.hpp"

namespace {

namespace asio = boost::asio;
namespace error = asio::error;
using namespace asio::experimental::awaitable_operators;
using namespace std::chrono_literals;
using namespace std::string_view_literals;
using asio::awaitable;
using asio::use_awaitable;
using asio::ip::tcp;
using boost::system::error_code;

constexpr auto kHelloMax = 5s;
constexpr auto kConnectMax = 20s;
constexpr char kVersion = 5;

struct User {
  std::string name{};  // empty: no authentication
  std::string password{};
};
struct Target {
  std::string host;
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

Reply reply_of(const error_code& code) {
  if (code == error::connection_refused) return Reply::refused;
  if (code == error::network_unreachable) return Reply::network_unreachable;
  return Reply::host_unreachable;
}

awaitable<std::string> read_text(tcp::socket& client, std::size_t bytes) {
  std::string text(bytes, '\0');
  co_await asio::async_read(client, asio::buffer(text), use_awaitable);
  co_return text;
}
awaitable<std::string> read_counted(tcp::socket& client) {
  const std::string length = co_await read_text(client, 1);
  co_return co_await read_text(client, static_cast<unsigned char>(length[0]));
}
awaitable<void> write_text(tcp::socket& client, std::string text) {
  co_await asio::async_write(client, asio::buffer(text), use_awaitable);
}

awaitable<void> answer(tcp::socket& client, Reply reply) {
  std::string text{"\5\0\0\1\0\0\0\0\0\0"sv};
  text[1] = static_cast<char>(reply);
  co_await write_text(client, std::move(text));
}
awaitable<void> refuse(tcp::socket& client, Reply reply) {
  co_await answer(client, reply);
  throw std::runtime_error("refused");
}

awaitable<void> authenticate(tcp::socket& client, const User& user) {
  const std::string version = co_await read_text(client, 1);
  if (version[0] != kVersion) throw std::runtime_error("no SOCKS5");
  const std::string methods = co_await read_counted(client);
  const char method = user.name.empty() ? 0 : 2;
  const bool is_offered = methods.find(method) != std::string::npos;
  const std::string chosen{kVersion, is_offered ? method : '\xff'};
  co_await write_text(client, chosen);
  if (!is_offered) throw std::runtime_error("no method");
  if (method == 0) co_return;

  co_await read_text(client, 1);
  const std::string name = co_await read_counted(client);
  const std::string password = co_await read_counted(client);
  const bool is_right = name == user.name && password == user.password;
  co_await write_text(client, std::string{is_right ? "\1\0"sv : "\1\1"sv});
  if (!is_right) throw std::runtime_error("wrong user");
}

template <class Address>
awaitable<std::string> read_address(tcp::socket& client) {
  typename Address::bytes_type bytes{};
  co_await asio::async_read(client, asio::buffer(bytes), use_awaitable);
  co_return Address(bytes).to_string();
}

awaitable<Target> read_request(tcp::socket& client, const User& user) {
  co_await authenticate(client, user);
  const std::string head = co_await read_text(client, 4);
  if (head[0] != kVersion) throw std::runtime_error("no SOCKS5");
  if (head[1] != 1) co_await refuse(client, Reply::no_such_command);
  Target target{};
  if (head[3] == 1) {
    target.host = co_await read_address<asio::ip::address_v4>(client);
  } else if (head[3] == 3) {
    target.host = co_await read_counted(client);
  } else if (head[3] == 4) {
    target.host = co_await read_address<asio::ip::address_v6>(client);
  } else {
    co_await refuse(client, Reply::no_such_address_type);
  }
  const std::string port = co_await read_text(client, 2);
  target.port = static_cast<std::uint16_t>(static_cast<unsigned char>(port[0]) << 8 |
                                           static_cast<unsigned char>(port[1]));
  co_return target;
}

awaitable<void> time_out(std::chrono::seconds after) {
  asio::steady_timer timer(co_await asio::this_coro::executor, after);
  co_await timer.async_wait(use_awaitable);
}

// operator|| waits for one that succeeds, so these two say how they failed by value.
awaitable<std::optional<Target>> try_request(tcp::socket& client, const User& user) {
  try {
    co_return co_await read_request(client, user);
  } catch (const std::exception&) {
    co_return std::nullopt;
  }
}
awaitable<error_code> connect(tcp::socket& server, const Target& target) {
  tcp::resolver resolver(server.get_executor());
  const auto port = std::to_string(target.port);
  const auto [failure, found] = co_await resolver.async_resolve(
      target.host, port, asio::experimental::as_tuple(use_awaitable));
  if (failure) co_return failure;
  error_code code;
  co_await asio::async_connect(server, found, asio::redirect_error(use_awaitable, code));
  co_return code;
}

awaitable<void> splice(tcp::socket& from, tcp::socket& to) {
  std::array<char, 16384> block;  // NOLINT(cppcoreguidelines-pro-type-member-init)
  for (;;) {
    error_code code;
    const std::size_t bytes = co_await from.async_read_some(
        asio::buffer(block), asio::redirect_error(use_awaitable, code));
    if (code == error::eof) break;
    if (code) throw boost::system::system_error(code);
    co_await asio::async_write(to, asio::buffer(block.data(), bytes), use_awaitable);
  }
  to.shutdown(tcp::socket::shutdown_send);
}

awaitable<void> talk(tcp::socket client, const User& user) {
  try {
    const auto hello = co_await (try_request(client, user) || time_out(kHelloMax));
    if (hello.index() != 0 || !std::get<0>(hello)) co_return;
    tcp::socket server(client.get_executor());
    const auto connected = co_await (connect(server, *std::get<0>(hello)) || time_out(kConnectMax));
    const error_code failure =
        connected.index() == 0 ? std::get<0>(connected) : error_code(error::timed_out);
    co_await answer(client, failure ? reply_of(failure) : Reply::succeeded);
    if (failure) co_return;
    co_await (splice(client, server) && splice(server, client));
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): its connection ends
  }
}

awaitable<void> serve(tcp::acceptor acceptor, const User& user) {
  for (;;) {
    tcp::socket socket = co_await acceptor.async_accept(use_awaitable);
    asio::co_spawn(acceptor.get_executor(), talk(std::move(socket), user), asio::detached);
  }
}

}  // namespace

int main(int argc, char** argv) {
  User user;
  if (argc == 4) user = {argv[2], argv[3]};
  asio::io_context context(1);
  asio::co_spawn(context, serve(listen_at(context, argc > 1 ? argv[1] : "127.0.0.1:1080"), user),
                 asio::detached);
  context.run();
}
