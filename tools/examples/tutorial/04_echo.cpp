// A TCP server: a coroutine for each connection, until SIGINT or SIGTERM.

#include <corelane/net.hpp>
#include <corelane/runtime.hpp>

#include <csignal>
#include <cstdio>

using namespace corelane;
using runtime::Task;

namespace {

Task<void> echo(net::TcpStream stream) {
  for (;;) {
    auto bytes = co_await stream.read_some();
    if (!bytes) co_return;  // the peer has ended its side, or the connection broke
    const auto sent = co_await stream.write_all(std::move(*bytes));
    if (!sent) co_return;
  }
}

Task<int> serve(const char* where, const runtime::BlockedSignals& blocked) {
  const auto address = runtime::Address::parse(where);
  if (!address) co_return 2;
  auto listener = net::TcpListener::listen(*address);
  if (!listener) {
    std::printf("cannot listen: %s\n", describe(listener.error()).c_str());
    co_return 1;
  }
  std::printf("listening on %s\n", listener->address()->text().c_str());
  std::fflush(stdout);

  runtime::SignalStream signals(blocked);
  co_await runtime::when_any(net::serve(*listener, "echo", echo), signals.next());
  std::printf("goodbye\n");
  co_return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const runtime::BlockedSignals blocked({SIGINT, SIGTERM});
  runtime::Runtime cores({.cores = 1});
  const char* where = argc > 1 ? argv[1] : "127.0.0.1:7000";
  return cores.run([&] { return serve(where, blocked); }).value_or(1);
}
