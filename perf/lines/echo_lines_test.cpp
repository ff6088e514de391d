// Goal: cores that echo share nothing: no lock, and no line that one of them writes and the other
// one touches. Method: a server composed as `corelane echo`'s, on two cores with default options,
// clients on both, counted after a warm-up.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include "net/http/server.hpp"
#include "net/network.hpp"
#include "perf/lines/client.hpp"
#include "perf/lines/counted_server.hpp"
#include "perf/lines/expectations.hpp"
#include "ws/endpoint.hpp"

namespace corelane {
namespace {

using perf::lines::Client;
using perf::lines::Report;
using runtime::Address;
using runtime::CoreId;
using runtime::Task;

constexpr std::size_t kClients = 32;  // all on one core: once in 2 to the power of 31
constexpr std::size_t kWarmUpRounds = 30;

class CoreEcho {
 public:
  CoreEcho()
      : network_({}),
        endpoint_(network_, {}, kHandler, nullptr),
        http_(network_, upgrading(), routes_) {}

  Address listen(const Address& address) {
    const auto listener =
        network_.listen(address, {.reuse_port = true}, net::http::Server::accept, &http_);
    EXPECT_TRUE(listener) << describe(listener.error());
    return *network_.address_of(*listener);
  }
  Task<void> stop() {
    co_await network_.stop_listening();
    co_await network_.shutdown();
  }

 private:
  static void on_message(ws::Connection& connection, ws::Message& message) noexcept {
    static_cast<void>(connection.echo(message));
  }
  static void on_close(ws::Connection&, ws::CloseCode, std::string_view) noexcept {}
  static constexpr ws::ConnectionHandler kHandler{nullptr, on_message, on_close};

  net::http::ServerOptions upgrading() noexcept {
    net::http::ServerOptions options;
    options.upgrade = ws::Endpoint::upgrade;
    options.upgrade_context = &endpoint_;
    return options;
  }

  net::Network network_;
  ws::Endpoint endpoint_;
  net::http::Routes routes_;
  net::http::Server http_;
};

class Echo {
 public:
  Task<void> start() {
    co_await cores_.start();
    address_ = cores_->listen(*Address::parse("127.0.0.1:0"));
    co_await runtime::submit_to(CoreId{1}, [this] { cores_->listen(address_); });
  }
  const Address& address() const noexcept { return address_; }
  Task<void> stop() {
    for (CoreId core = 0; core < perf::lines::kCores; ++core) {
      co_await runtime::submit_to(core, [this]() -> Task<void> { return cores_->stop(); });
    }
    co_await cores_.stop();
  }

 private:
  runtime::Sharded<CoreEcho> cores_;
  Address address_;
};

// All clients send `depth` messages each, then all wait for their echoes.
void echo_rounds(std::vector<Client>& clients, std::size_t rounds, std::size_t depth,
                 std::span<const std::byte> message) {
  for (std::size_t round = 0; round < rounds; ++round) {
    for (Client& client : clients) {
      for (std::size_t i = 0; i < depth; ++i) client.put(message);
      client.send();
    }
    for (Client& client : clients) client.receive(depth);
  }
}

struct Echoes {
  std::size_t depth;
  std::size_t bytes;
  std::size_t rounds;
};
class EchoLines : public testing::TestWithParam<Echoes> {};

TEST_P(EchoLines, TwoCoresShareNoLineAndTakeNoLock) {
  const auto [depth, bytes, rounds] = GetParam();
  perf::lines::run_counted<Echo>([&](const Address& server) {
    const std::vector<std::byte> message(bytes, std::byte{'m'});
    std::vector<Client> clients;
    clients.reserve(kClients);
    for (std::size_t i = 0; i < kClients; ++i) clients.emplace_back(server);
    echo_rounds(clients, kWarmUpRounds, depth, message);
    perf::lines::start();
    echo_rounds(clients, rounds, depth, message);
    perf::lines::stop();
  });
  const Report report = perf::lines::report();
  const std::size_t batches = kClients * rounds;
  std::printf("%s", describe(report, static_cast<double>(batches * depth), "message").c_str());
  perf::lines::expect_a_whole_count(report);
  perf::lines::expect_no_line_between_cores(report);
  // A core goes to sleep until a piece of a batch arrives, and until the echo of that is taken.
  const std::size_t pieces = 1 + depth * bytes / 4096;
  perf::lines::expect_no_lock_but_around_sleep(report, 2 * batches * pieces);
  perf::lines::expect_a_rare_monitor(report);
}

INSTANTIATE_TEST_SUITE_P(All, EchoLines,
                         testing::Values(Echoes{.depth = 1, .bytes = 125, .rounds = 200},
                                         Echoes{.depth = 16, .bytes = 125, .rounds = 50},
                                         Echoes{.depth = 2, .bytes = 16384, .rounds = 30}),
                         [](const auto& test) {
                           return fmt::format("{}_bytes_depth_{}", test.param.bytes,
                                              test.param.depth);
                         });

}  // namespace
}  // namespace corelane
