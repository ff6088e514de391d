// A server and its test in the simulation, in one file: copy it, and put your server in the place
// of this one. The server runs on three cores and sends back each line once it is in the journal of
// its core. tools/docs/simulation.md goes through it step by step.
//
//   clang++-19 -std=c++20 echo_server_test.cpp -o echo_server_test
//     $(pkg-config --cflags --libs corelane-sim corelane-net)
//   ./echo_server_test                                        # 50 seeds in this process
//   corelane-sim-run --seeds 300 ./echo_server_test           # a process a seed
//   corelane-sim-run --seeds 300 ./echo_server_test careless  # with a bug, to see one found

#include <fcntl.h>

#include <corelane/net.hpp>
#include <corelane/runtime.hpp>
#include <corelane/runtime/sim/world.hpp>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <vector>

using namespace corelane;
using namespace std::chrono_literals;
using runtime::Result;
using runtime::Task;
namespace sim = runtime::sim;

namespace {

// --- The server, one object a core. Nothing in it knows that it is simulated.

constexpr std::size_t kLineBytesMax = 1000;
constexpr runtime::Nanoseconds kIdleMax = 30 * runtime::kSecond;

bool is_careless = false;  // with the bug

class Server {
 public:
  Task<Result<void>> start(runtime::Address address) {
    const std::string name = "/journal-" + std::to_string(runtime::Core::current().id());
    RT_TRY(journal_, co_await runtime::File::open(name, O_CREAT | O_WRONLY));
    RT_TRY(listener_, net::TcpListener::listen(address, {.reuse_port = true}));
    co_return Result<void>{};
  }
  Task<void> run() { co_await net::serve(*listener_, "echo", echo, this); }
  Task<void> stop() {
    if (listener_) co_await listener_->close();
  }
  // When run() has ended.
  Task<void> close() {
    listener_.reset();
    if (journal_.is_open()) static_cast<void>(co_await journal_.close());
  }

 private:
  static Task<void> echo(net::TcpStream stream, Server* server) {
    for (;;) {
      stream.set_deadline(kIdleMax);
      const auto line = co_await stream.read_line(kLineBytesMax);
      if (!line) co_return;
      const std::string answer = std::string(*line) + "\n";
      const auto written = co_await server->write_down(answer);
      if (!written) co_return;
      const auto sent = co_await stream.write_all(answer);
      if (!sent) co_return;
    }
  }

  Task<Result<void>> write_down(const std::string& line) {
    const std::uint64_t place = end_;
    if (!is_careless) end_ = place + line.size();
    RT_TRY_VOID(co_await journal_.write_all_at(std::as_bytes(std::span{line}), place));
    // The bug: while this line was on its way, another one has got the same place.
    if (is_careless) end_ = place + line.size();
    co_return Result<void>{};
  }

  runtime::File journal_;
  std::uint64_t end_ = 0;  // of the journal
  std::optional<net::TcpListener> listener_;
};

// --- The test

constexpr runtime::CoreId kCores = 3;
constexpr int kClients = 5;
constexpr int kLines = 4;

struct Seen {
  std::vector<std::string> answered;
  int wrong_answers = 0;
  runtime::Nanoseconds idle_closed_after = 0;
};

Task<Result<void>> talk(runtime::Address address, int number, Seen* seen) {
  co_await runtime::sleep_for(number * 3ms);
  RT_TRY(net::TcpStream stream, co_await net::TcpStream::connect(address));
  for (int i = 0; i < kLines; ++i) {
    const std::string line = "client " + std::to_string(number) + " line " + std::to_string(i);
    RT_TRY_VOID(co_await stream.write_all(line + "\n"));
    RT_TRY(const std::string_view answer, co_await stream.read_line(kLineBytesMax));
    if (answer != line) ++seen->wrong_answers;
    seen->answered.push_back(line + "\n");
    if (i + 1 < kLines) co_await runtime::sleep_for(1s);  // virtual: takes no time
  }
  if (number == 0) {  // this client stays, and is silent
    const runtime::Nanoseconds begin = runtime::Core::current().now();
    const auto end = co_await stream.read_some();
    if (!end) seen->idle_closed_after = runtime::Core::current().now() - begin;
  }
  co_return Result<void>{};
}

Task<void> client(runtime::Address address, int number, Seen* seen) {
  // A connection may break where `breaking` faults are on.
  static_cast<void>(co_await talk(address, number, seen));
}

Task<void> run_server(runtime::CoreId core, Server* server) {
  co_await runtime::call_on(core, [server] { return server->run(); });
}

Task<int> run_all(Seen* seen) {
  const runtime::Address address = *runtime::Address::parse("127.0.0.1:7000");
  std::array<Server, kCores> servers;
  runtime::TaskGroup running("servers");
  for (runtime::CoreId core = 0; core < kCores; ++core) {
    Server* const server = &servers[core];
    const auto started =
        co_await runtime::call_on(core, [server, address] { return server->start(address); });
    if (started) running.spawn("server", run_server, core, server);
  }
  runtime::TaskGroup clients("clients");
  for (int i = 0; i < kClients; ++i) clients.spawn("client", client, address, i, seen);
  co_await clients.join();
  for (runtime::CoreId core = 0; core < kCores; ++core) {
    co_await runtime::call_on(core, [&servers, core] { return servers[core].stop(); });
  }
  co_await running.join();
  for (runtime::CoreId core = 0; core < kCores; ++core) {
    co_await runtime::call_on(core, [&servers, core] { return servers[core].close(); });
  }
  co_return 0;
}

// What must hold whatever happens: a line that was answered is in a journal.
int lost_lines(sim::World& world, const Seen& seen) {
  std::string journals;
  for (runtime::CoreId core = 0; core < kCores; ++core) {
    journals += world.files().content("/journal-" + std::to_string(core)).value_or("");
  }
  int lost = 0;
  for (const std::string& line : seen.answered) lost += journals.find(line) == std::string::npos;
  return lost;
}

bool holds_for(std::uint64_t seed) {
  sim::World world(seed, sim::Faults::of_environment(seed, sim::Faults::swarm(seed, false)));
  runtime::Runtime cores({.cores = kCores});
  Seen seen;
  const auto ended = cores.run([&seen] { return run_all(&seen); });
  if (!ended) return false;
  const int lost = lost_lines(world, seen);
  if (lost > 0) std::printf("error: %d answered lines are in no journal\n", lost);
  if (seen.wrong_answers > 0) std::printf("error: %d wrong answers\n", seen.wrong_answers);
  // More holds where no fault ends a connection or fails an operation.
  const sim::Faults& faults = world.faults();
  bool all = true;
  if (faults.reset + faults.connect_failure + faults.accept_failure + faults.file_error == 0) {
    all = seen.answered.size() == std::size_t{kClients} * kLines &&
          seen.idle_closed_after > kIdleMax - runtime::kSecond &&
          seen.idle_closed_after < kIdleMax + runtime::kSecond;
    if (!all) std::printf("error: an answer is missing, or the silent client stayed\n");
  }
  return lost == 0 && seen.wrong_answers == 0 && all;
}

}  // namespace

int main(int argc, char** argv) {
  is_careless = argc > 1 && std::strcmp(argv[1], "careless") == 0;
  const std::vector<std::uint64_t> seeds = sim::seeds(1, 50);
  for (const std::uint64_t seed : seeds) {
    if (holds_for(seed)) continue;
    std::printf("failed for CORELANE_SEED=%llu\n", static_cast<unsigned long long>(seed));
    return 1;
  }
  std::printf("%zu seeds passed\n", seeds.size());
  return 0;
}
