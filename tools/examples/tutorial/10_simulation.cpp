// A test in the simulation: a server and its client in one process, in virtual time, from 100
// seeds. With the argument `naive` the server takes what one read brings for a whole line.

#include <corelane/net.hpp>
#include <corelane/runtime.hpp>
#include <corelane/runtime/sim/world.hpp>

#include <cstdio>
#include <string>
#include <string_view>

using namespace corelane;
using runtime::Result;
using runtime::Task;
namespace sim = runtime::sim;

namespace {

// --- The server: answers a line with the number of its letters.

Task<void> measure(net::TcpStream stream) {
  for (;;) {
    const auto line = co_await stream.read_line(1000);
    if (!line) co_return;
    const auto sent = co_await stream.write_all(std::to_string(line->size()) + "\n");
    if (!sent) co_return;
  }
}

Task<void> measure_naively(net::TcpStream stream) {
  for (;;) {
    const auto bytes = co_await stream.read_some();
    if (!bytes) co_return;
    const auto sent = co_await stream.write_all(std::to_string(bytes->size() - 1) + "\n");
    if (!sent) co_return;
  }
}

// --- The test

using Server = Task<void> (*)(net::TcpStream);

Task<Result<std::string>> ask(runtime::Address address, std::string question) {
  RT_TRY(net::TcpStream stream, co_await net::TcpStream::connect(address));
  RT_TRY_VOID(co_await stream.write_all(question));
  RT_TRY(const std::string_view answer, co_await stream.read_line(1000));
  std::string copy(answer);
  RT_TRY_VOID(co_await stream.close());
  co_return copy;
}

Task<int> is_answered_right(Server server) {
  auto listener = net::TcpListener::listen(*runtime::Address::parse("127.0.0.1:0"));
  const auto address = listener->address();
  const auto ended = co_await runtime::when_any(ask(*address, std::string(500, 'x') + "\n"),
                                                net::serve(*listener, "measure", server));
  co_await listener->close();
  const Result<std::string>& answer = *std::get<0>(ended.values);
  co_return answer && *answer == "500" ? 0 : 1;
}

bool passes(std::uint64_t seed, Server server) {
  sim::World world(seed, sim::Faults::swarm(seed, /*breaking=*/false));
  runtime::Runtime cores({.cores = 1});
  return cores.run([&] { return is_answered_right(server); }).value_or(1) == 0;
}

}  // namespace

int main(int argc, char** argv) {
  const bool is_naive = argc > 1 && std::string_view(argv[1]) == "naive";
  int failures = 0;
  for (const std::uint64_t seed : sim::seeds(1, 100)) {
    if (passes(seed, is_naive ? measure_naively : measure)) continue;
    if (++failures == 1)
      std::printf("the first that fails: CORELANE_SEED=%zu\n", std::size_t{seed});
  }
  std::printf("seeds that fail: %d\n", failures);
  return failures == 0 ? 0 : 1;
}
