// Goal: a request of a warm client costs no allocation, where the texts of its URL are short enough
// for the strings themselves. Method: the global allocation functions count; server and client
// share a core, and our server allocates nothing for a GET on an open connection.
#include <gtest/gtest.h>

#include <string>

#include "net/http/client.hpp"
#include "runtime/frame_pool.hpp"
#include "tests/support/counted_allocations.hpp"
#include "tests/support/http_site.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::allocations;
using tests::HttpSite;

struct Count {
  std::size_t of_reading = 0;  // by read(), for all rounds
  std::size_t rounds = 400;
};

Task<void> ask_repeatedly(HttpSite& site, Count& count) {
  net::http::ClientOptions options;
  options.base = "http://" + site.address.text();
  net::http::HttpClient client(options);
  for (std::size_t round = 0; round < 2 * count.rounds; ++round) {
    if (round == count.rounds) count.of_reading = allocations;
    auto answer = co_await client.get("/hello");
    EXPECT_TRUE(answer);
    if (!answer) co_return;
    for (;;) {
      const auto piece = co_await answer->read();
      if (!piece) break;
    }
  }
  count.of_reading = allocations - count.of_reading;
  EXPECT_EQ(client.counters().connections, 1u);
}

TEST(HttpClientAllocation, AWarmRequestCostsNone) {
  if (!FramePool::kEnabled) GTEST_SKIP() << "frames come from the allocator under ASan";
  Count count;
  tests::SiteOptions options;
  options.network = {};
  tests::run_site(options, ask_repeatedly, count);
  EXPECT_EQ(count.of_reading, 0u);
}

}  // namespace
}  // namespace corelane
