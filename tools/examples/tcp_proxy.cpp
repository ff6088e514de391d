// Forwards connections to another address, both directions without a copy. Each direction ends by
// itself: a half-close goes through, and so does the pace of the slower side.
//
//   build/release/tools/examples/tcp_proxy 127.0.0.1:7000 127.0.0.1:80

#include <fmt/core.h>

#include <corelane/net/tcp.hpp>
#include <corelane/runtime/combine.hpp>
#include <corelane/runtime/runtime.hpp>

using namespace corelane;

namespace {

runtime::Task<void> forward(net::TcpStream client, runtime::Address to) {
  auto server = co_await net::TcpStream::connect(to);
  if (!server) co_return client.abort();
  // Ends with both directions, or with the first that breaks.
  const auto done =
      co_await runtime::try_all(net::splice(client, *server), net::splice(*server, client));
  if (done) co_return;
  client.abort();
  server->abort();
}

runtime::Task<int> serve(runtime::Address address, runtime::Address to) {
  auto listener = net::TcpListener::listen(address);
  if (!listener) {
    fmt::print(stderr, "cannot listen: {}\n", describe(listener.error()));
    co_return 1;
  }
  fmt::print("listening on {}\n", listener->address()->text());
  std::fflush(stdout);
  co_await net::serve(*listener, "forward", forward, to);
  co_return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const auto address = runtime::Address::parse(argc > 1 ? argv[1] : "127.0.0.1:7000");
  const auto to = runtime::Address::parse(argc > 2 ? argv[2] : "127.0.0.1:80");
  if (!address || !to) return 2;
  runtime::Runtime runtime({});
  return runtime.run([&] { return serve(*address, *to); }).value_or(1);
}
