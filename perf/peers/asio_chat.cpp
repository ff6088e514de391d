// A peer: tools/examples/line_chat.cpp on Boost.Asio's coroutines.
//
//   asio_chat ADDRESS:PORT

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/experimental/channel.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <memory>
#include <set>
#include <string>

#include "perf/peers/asio_listen.hpp"

namespace {

namespace asio = boost::asio;
using namespace asio::experimental::awaitable_operators;
using asio::awaitable;
using asio::use_awaitable;
using asio::ip::tcp;
using boost::system::error_code;

constexpr std::size_t kLineMax = 4096;
constexpr std::size_t kLinesBehindMax = 64;

using Line = std::shared_ptr<std::string>;
struct Member {
  explicit Member(tcp::socket socket)
      : stream(std::move(socket)), lines(stream.get_executor(), kLinesBehindMax) {}
  tcp::socket stream;
  asio::experimental::channel<void(error_code, Line)> lines;
  std::string input;
};
using Room = std::set<Member*>;

void tell_others(const Room& room, const Member* from, std::string text) {
  const auto line = std::make_shared<std::string>(std::move(text));
  for (Member* peer : room) {
    if (peer != from) peer->lines.try_send(error_code{}, line);
  }
}

awaitable<std::string> read_line(Member& member) {
  auto buffer = asio::dynamic_buffer(member.input, kLineMax);
  const std::size_t bytes =
      co_await asio::async_read_until(member.stream, buffer, '\n', use_awaitable);
  std::string line = member.input.substr(0, bytes - 1);
  member.input.erase(0, bytes);
  if (line.ends_with('\r')) line.pop_back();
  co_return line;
}

awaitable<void> write_lines(Member& member) {
  for (;;) {
    const Line line = co_await member.lines.async_receive(use_awaitable);
    co_await asio::async_write(member.stream, asio::buffer(*line), use_awaitable);
  }
}

awaitable<void> read_lines(Member& member, const std::string& name, Room& room) {
  for (;;) {
    const std::string line = co_await read_line(member);
    std::string text = name;
    tell_others(room, &member, text.append(": ").append(line).append("\n"));
  }
}

awaitable<void> talk(tcp::socket socket, Room& room) {
  Member member(std::move(socket));
  std::string name;
  try {
    co_await asio::async_write(member.stream, asio::buffer("your name?\n", 11), use_awaitable);
    name = co_await read_line(member);
    room.insert(&member);
    tell_others(room, &member, "* " + name + " is here\n");
    co_await (read_lines(member, name, room) && write_lines(member));
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): its connection ends
  }
  if (room.erase(&member) != 0) tell_others(room, &member, "* " + name + " has left\n");
}

awaitable<void> serve(tcp::acceptor acceptor, Room& room) {
  for (;;) {
    tcp::socket socket = co_await acceptor.async_accept(use_awaitable);
    asio::co_spawn(acceptor.get_executor(), talk(std::move(socket), room), asio::detached);
  }
}

}  // namespace

int main(int argc, char** argv) {
  asio::io_context context(1);
  Room room;
  asio::co_spawn(context, serve(listen_at(context, argc > 1 ? argv[1] : "127.0.0.1:7000"), room),
                 asio::detached);
  context.run();
}
