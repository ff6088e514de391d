// Goal: a URL is taken apart as RFC 3986 and RFC 6455 section 3 say, or refused with what to write.
// Method: tables; names are resolved by a function of the test.

#include "tools/server_url.hpp"

#include <gtest/gtest.h>

namespace tools {
namespace {

ParsedUrl parse(std::string_view text) {
  return parse_server_url(text, [](const std::string& host) {
    std::vector<runtime::Address> addresses;
    if (host == "localhost") {
      addresses.push_back(*runtime::Address::parse("[::1]:0"));
      addresses.push_back(*runtime::Address::parse("127.0.0.1:0"));
    }
    return addresses;
  });
}

struct Good {
  std::string_view text;
  std::vector<std::string> addresses;
  bool is_websocket;
  std::string_view host;
  std::string_view target;
};

TEST(ServerUrl, is_taken_apart) {
  const Good rows[] = {
      {"ws://127.0.0.1:8080/", {"127.0.0.1:8080"}, true, "127.0.0.1:8080", "/"},
      {"ws://127.0.0.1:8080", {"127.0.0.1:8080"}, true, "127.0.0.1:8080", "/"},
      {"127.0.0.1:9", {"127.0.0.1:9"}, true, "127.0.0.1:9", "/"},
      {"ws://127.0.0.1", {"127.0.0.1:80"}, true, "127.0.0.1", "/"},
      {"ws://[::1]:9/a/b?c=d", {"[::1]:9"}, true, "[::1]:9", "/a/b?c=d"},
      {"ws://127.0.0.1:9?c", {"127.0.0.1:9"}, true, "127.0.0.1:9", "/?c"},
      {"ws://localhost:9/", {"[::1]:9", "127.0.0.1:9"}, true, "localhost:9", "/"},
      {"tcp://127.0.0.1:9", {"127.0.0.1:9"}, false, "127.0.0.1:9", "/"},
      {"unix:/run/corelane", {"unix:/run/corelane"}, false, "", "/"},
  };
  for (const Good& row : rows) {
    const ParsedUrl parsed = parse(row.text);
    ASSERT_TRUE(parsed.url) << row.text << ": " << parsed.problem;
    std::vector<std::string> addresses;
    for (const runtime::Address& address : parsed.url->addresses) {
      addresses.push_back(address.text());
    }
    EXPECT_EQ(addresses, row.addresses) << row.text;
    EXPECT_EQ(parsed.url->is_websocket, row.is_websocket) << row.text;
    EXPECT_EQ(parsed.url->host, row.host) << row.text;
    EXPECT_EQ(parsed.url->target, row.target) << row.text;
    EXPECT_EQ(parsed.url->text, row.text);
  }
}

TEST(ServerUrl, is_refused_with_what_is_wrong) {
  const std::pair<std::string_view, std::string_view> rows[] = {
      {"", "host is missing"},
      {"http://127.0.0.1/", "begins with ws://"},
      {"wss://127.0.0.1/", "TLS"},
      {"ws://", "host is missing"},
      {"ws://:80/", "host is missing"},
      {"ws://127.0.0.1:0/", "no port"},
      {"ws://127.0.0.1:65536/", "no port"},
      {"ws://127.0.0.1:8o/", "no port"},
      {"ws://127.0.0.1:/", "no port"},
      {"ws://[::1:9/", "] behind"},
      {"ws://[::1]9/", ":PORT"},
      {"ws://127.0.0.1:9/a b", "%-escaped"},
      {"ws://127.0.0.1:9/a\r\nX: y", "%-escaped"},
      {"ws://127.0.0.1:9/#x", "fragment"},
      {"ws://nobody.invalid:9/", "no address of nobody.invalid"},
      {"tcp://127.0.0.1", "needs a port"},
      {"tcp://127.0.0.1:9/path", "no path"},
      {"unix:", "unix:/path"},
  };
  for (const auto& [text, problem] : rows) {
    const ParsedUrl parsed = parse(text);
    EXPECT_FALSE(parsed.url) << text;
    EXPECT_NE(parsed.problem.find(problem), std::string::npos) << text << ": " << parsed.problem;
  }
}

TEST(ServerUrl, resolves_localhost) {
  const ParsedUrl parsed = parse_server_url("ws://localhost:9/");
  ASSERT_TRUE(parsed.url) << parsed.problem;
  for (const runtime::Address& address : parsed.url->addresses) {
    EXPECT_TRUE(address.text() == "127.0.0.1:9" || address.text() == "[::1]:9") << address.text();
  }
}

}  // namespace
}  // namespace tools
