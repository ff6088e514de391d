// Goal: a GET on an open connection costs no allocation, whole, cut or pipelined, and a connection
// that does not finish its head never holds more than 16 KiB. Method: the global allocation
// functions count; a warm-up may allocate, later rounds not.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "net/http/server.hpp"
#include "runtime/await.hpp"
#include "tests/support/counted_allocations.hpp"
#include "tests/support/http_site.hpp"

namespace corelane {
namespace {

using tests::allocations;
using tests::live_bytes;
using namespace runtime;
using namespace tests;

// Sends `text` again when `answer_bytes` have come back, and allocates nothing for it.
struct RepeatingClient {
  std::string text;
  std::size_t answer_bytes = 0;  // 0: found out with the first answer, which ends a turn
  std::size_t received = 0;
  std::size_t rounds = 0;
  std::size_t rounds_max = 0;
  std::size_t warm_up = 0;
  std::size_t before = 0;
  std::size_t after = 0;
  bool closed = false;
  WaitQueue done;

  static void on_data(net::Stream& stream, const net::Received& got) noexcept {
    auto& self = *static_cast<RepeatingClient*>(stream.owner());
    self.received += got.bytes.size();
    if (self.received < self.answer_bytes) return;
    EXPECT_EQ(self.received, self.answer_bytes);
    self.received = 0;
    ++self.rounds;
    if (self.rounds == self.warm_up) self.before = allocations;
    if (self.rounds == self.rounds_max) {
      self.after = allocations;
      stream.close(kSecond);
      return;
    }
    EXPECT_TRUE(stream.send_copy(std::as_bytes(std::span{self.text})));
  }
  static void on_end(net::Stream& stream) noexcept { stream.close(0); }
  static void on_closed(net::Stream& stream, Error) noexcept {
    auto& self = *static_cast<RepeatingClient*>(stream.owner());
    self.closed = true;
    self.done.wake_all(WaitQueue::Outcome::granted);
  }
  static void on_timer(net::Stream&) noexcept {}
  static constexpr net::StreamHandler kHandler{"repeating client", on_data,  on_end,
                                               on_closed,          on_timer, nullptr};
};

struct Rounds {
  std::string path;
  std::size_t pipelined;
  std::size_t allocations = 0;
};

Task<void> count_allocations(HttpSite& site, Rounds& rounds) {
  const std::string once = co_await site.exchange(get(rounds.path, "Connection: close\r\n"));
  RepeatingClient client;
  for (std::size_t i = 0; i < rounds.pipelined; ++i) client.text += get(rounds.path);
  const std::size_t one = once.size() - std::string_view{"Connection: close\r\n"}.size();
  client.answer_bytes = rounds.pipelined * one;
  client.warm_up = 100;
  client.rounds_max = 600;
  const auto stream =
      co_await site.network.connect(site.address, RepeatingClient::kHandler, &client);
  EXPECT_TRUE(site.network.find(*stream)->send_copy(std::as_bytes(std::span{client.text})));
  while (!client.closed) {
    WaitQueue::Waiter waiter{client.done};
    co_await waiter;
  }
  rounds.allocations = client.after - client.before;
  EXPECT_EQ(client.rounds, client.rounds_max);
}

std::size_t allocations_of(const std::string& path, std::size_t pipelined,
                           std::uint32_t buffer_bytes) {
  SiteOptions options;
  options.network.receive_buffer_bytes = buffer_bytes;
  options.network.receive_buffers = 64;
  options.network.queued_bytes_max = 1024 * 1024;
  Rounds rounds{.path = path, .pipelined = pipelined};
  run_site(options, count_allocations, rounds);
  return rounds.allocations;
}

TEST(HttpServerAllocation, AGetCostsNoneWholeCutOrPipelined) {
  for (const std::string path : {"/hello", "/static", "/users/somebody"}) {
    EXPECT_EQ(allocations_of(path, 1, 4096), 0u) << path;
    EXPECT_EQ(allocations_of(path, 1, 16), 0u) << path;
    EXPECT_EQ(allocations_of(path, 16, 8192), 0u) << path;
  }
}

// The longest head there may be, with the most fields, but for its last byte.
std::string longest_head() {
  const net::http::Limits limits;
  std::string head = "GET /users/" + std::string(limits.request_line_bytes_max - 20, 'a') +
                     " HTTP/1.1\r\nHost: a\r\n";
  std::size_t bytes = 9;
  for (std::size_t i = 2; i < limits.fields_max; ++i, bytes += 4) head += "a:\r\n";
  head += "b:" + std::string(limits.header_bytes_max - bytes - 4, 'b') + "\r\n\r";
  return head;
}

Task<void> hold_a_head(HttpSite& site, std::size_t& held_most) {
  HttpClient client;
  const std::string head = longest_head();
  client.received.reserve(1024);
  // Once to warm up what the core keeps, then what one connection has.
  co_await site.exchange(head + "\r");
  while (site.server.connection_count() > 0) co_await Yield{};
  co_await client.connect(site.network, site.address);
  while (site.server.connection_count() == 0) co_await Yield{};
  const std::size_t before = live_bytes;
  const std::uint64_t came = site.network.counters().bytes_received;
  client.send(head);
  while (client.stream()->queued_bytes() > 0) co_await Yield{};
  client.unsent.shrink_to_fit();
  while (site.network.counters().bytes_received < came + head.size()) co_await Yield{};
  const std::size_t held = live_bytes - before + sizeof(net::http::ServerConnection);
  held_most = std::max(held_most, held);
  EXPECT_LE(held, 16u * 1024);
  client.send("\n");
  co_await client.until_contains("aaa");  // it was a good one
  co_await client.half_close();
  co_await client.until_closed();
}

TEST(HttpServerAllocation, AConnectionInItsHeadHoldsAtMost16KiB) {
  std::size_t held_most = 0;
  for (const std::uint32_t buffer_bytes : {1u, 100u, 4095u, 8192u}) {
    SiteOptions options;
    options.network.receive_buffer_bytes = buffer_bytes;
    options.network.receive_buffers = 64;
    run_site(options, hold_a_head, held_most);
  }
  fmt::print("{} bytes at most\n", held_most);
  EXPECT_GT(held_most, longest_head().size()) << "measured while it was held";
}

}  // namespace
}  // namespace corelane
