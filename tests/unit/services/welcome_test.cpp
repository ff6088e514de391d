// Goal: a browser that opens the server's address shows what it is, without anything else being
// loaded; WebSocket at the same path works as ever. Method: a whole node, a raw HTTP client
// and one of the protocol.
#include <gtest/gtest.h>

#include <string>

#include "tests/support/http_site.hpp"
#include "tests/unit/services/node_under_test.hpp"

namespace corelane {
namespace {

using runtime::Task;
using tests::answers_in;
using tests::HttpClient;
using tests::NodeUnderTest;
using tests::Via;
using tests::with_node;

Task<std::string> ask(NodeUnderTest& test, std::string request) {
  HttpClient client;
  co_await client.connect(test.node().cores()->network(), test.address(Via::websocket));
  client.send(request);
  co_await client.until_closed();
  co_return client.received;
}

TEST(Welcome, ABrowserSeesWhatTheServerIs) {
  with_node(2, [](NodeUnderTest& test) -> Task<void> {
    const std::string rest = " / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    const std::string accept =
        "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n";
    for (const std::string& fields : {std::string{}, accept}) {
      const std::string page = co_await ask(test, "GET" + rest + fields + "\r\n");
      const auto answers = answers_in(page);
      EXPECT_EQ(answers.size(), 1u);
      EXPECT_EQ(answers.at(0).status, 200);
      EXPECT_NE(page.find("Content-Type: text/html; charset=utf-8\r\n"), std::string::npos);
      EXPECT_NE(page.find("default-src 'none'"), std::string::npos);
      EXPECT_NE(page.find("<title>Corelane</title>"), std::string::npos);
      EXPECT_NE(page.find("README.md"), std::string::npos);
      for (const std::string outside : {"http://", "https://", "src=", "href="}) {
        EXPECT_EQ(page.find(outside), std::string::npos) << "nothing is loaded";
      }
    }
    const std::string head = co_await ask(test, "HEAD" + rest + "\r\n");
    EXPECT_TRUE(head.starts_with("HTTP/1.1 200 OK\r\n"));
    EXPECT_TRUE(head.ends_with("\r\n\r\n"));
    const std::string other = co_await ask(test, "POST" + rest + "Content-Length: 0\r\n\r\n");
    EXPECT_TRUE(other.starts_with("HTTP/1.1 405 ")) << other;
    const std::string upgrade = co_await ask(
        test,
        "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 12\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        "GET" +
            rest + "\r\n");
    EXPECT_TRUE(upgrade.starts_with("HTTP/1.1 426 ")) << upgrade;
    EXPECT_NE(upgrade.find("<title>"), std::string::npos) << "and the next request is served";
  });
}

}  // namespace
}  // namespace corelane
