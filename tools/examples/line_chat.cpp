// A chat: each line goes to everybody else, behind the name that the first line gave. A peer that
// does not read misses lines; the others do not wait for it.
//
//   build/release/tools/examples/line_chat 127.0.0.1:7000      nc 127.0.0.1 7000

#include <fmt/core.h>

#include <string>
#include <vector>

#include <corelane/net/tcp.hpp>
#include <corelane/runtime/runtime.hpp>

using namespace corelane;

namespace {

using Room = std::vector<net::TcpStream*>;
constexpr std::size_t kLineMax = 4096;
constexpr std::size_t kBehindMax = 64 * 1024;

void tell_others(const Room& room, const net::TcpStream* from, const std::string& line) {
  for (net::TcpStream* peer : room) {
    if (peer == from || peer->queued_bytes() > kBehindMax) continue;
    peer->try_write(std::as_bytes(std::span{line}));
  }
}

runtime::Task<void> talk(net::TcpStream stream, Room* room) {
  const auto asked = co_await stream.write_all("your name?\n");
  if (!asked) co_return;
  const auto first = co_await stream.read_line(kLineMax);
  if (!first) co_return;
  const std::string name{*first};
  room->push_back(&stream);
  tell_others(*room, &stream, fmt::format("* {} is here\n", name));
  for (;;) {
    const auto line = co_await stream.read_line(kLineMax);
    if (!line) break;
    tell_others(*room, &stream, fmt::format("{}: {}\n", name, *line));
  }
  std::erase(*room, &stream);
  tell_others(*room, &stream, fmt::format("* {} has left\n", name));
}

runtime::Task<int> serve(runtime::Address address) {
  auto listener = net::TcpListener::listen(address);
  if (!listener) {
    fmt::print(stderr, "cannot listen: {}\n", describe(listener.error()));
    co_return 1;
  }
  fmt::print("listening on {}\n", listener->address()->text());
  std::fflush(stdout);
  Room room;
  co_await net::serve(*listener, "talk", talk, &room);
  co_return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const auto address = runtime::Address::parse(argc > 1 ? argv[1] : "127.0.0.1:7000");
  if (!address) return 2;
  runtime::Runtime runtime({});
  return runtime.run([&] { return serve(*address); }).value_or(1);
}
