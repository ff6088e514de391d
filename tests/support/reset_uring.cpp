#include <gtest/gtest.h>
#include <sys/socket.h>

#include "tests/support/http_site.hpp"

namespace corelane::tests {

runtime::Task<void> reset(HttpClient& client) {
  net::Stream* const stream = client.stream();
  EXPECT_NE(stream, nullptr);
  if (stream == nullptr) co_return;
  EXPECT_FALSE(stream->descriptor().direct);
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  EXPECT_EQ(
      ::setsockopt(stream->descriptor().number, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once),
      0);
  stream->abort();
  co_await client.until_closed();
}

}  // namespace corelane::tests
