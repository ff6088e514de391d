// Sends back what comes, without a copy, until the peer half-closes.
//
//   build/release/tools/examples/tcp_echo 127.0.0.1:7000

#include <fmt/core.h>

#include <corelane/net/tcp.hpp>
#include <corelane/runtime/runtime.hpp>

using namespace corelane;

namespace {

runtime::Task<void> echo(net::TcpStream stream) {
  static_cast<void>(co_await net::splice(stream, stream));
}

runtime::Task<int> serve(runtime::Address address) {
  auto listener = net::TcpListener::listen(address);
  if (!listener) {
    fmt::print(stderr, "cannot listen: {}\n", describe(listener.error()));
    co_return 1;
  }
  fmt::print("listening on {}\n", listener->address()->text());
  std::fflush(stdout);
  co_await net::serve(*listener, "echo", echo);
  co_return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const auto address = runtime::Address::parse(argc > 1 ? argv[1] : "127.0.0.1:7000");
  if (!address) return 2;
  runtime::Runtime runtime({});
  return runtime.run([&] { return serve(*address); }).value_or(1);
}
