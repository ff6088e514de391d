// Goal: a URL is taken apart as RFC 3986 and RFC 6455 section 3 say, what is sent has nothing in it
// that only this host understands, and what cannot be used is refused with what to write. Method:
// tables; the interface lo, which every host has, stands for a link.

#include "tools/server_url.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <net/if.h>  // tidy: allow include_direction: of libc

#include "net/http/syntax.hpp"

namespace corelane::tools {
namespace {

struct Good {
  std::string text;
  std::string address;  // empty: a name
  std::string name;
  bool is_websocket;
  std::string host;
  std::string target;
};

void expect_all(const std::vector<Good>& rows) {
  for (const Good& row : rows) {
    const ParsedUrl parsed = parse_server_url(row.text);
    ASSERT_TRUE(parsed.url) << row.text << ": " << parsed.problem;
    EXPECT_EQ(parsed.url->address ? parsed.url->address->text() : "", row.address) << row.text;
    EXPECT_EQ(parsed.url->name, row.name) << row.text;
    EXPECT_EQ(parsed.url->is_websocket, row.is_websocket) << row.text;
    EXPECT_EQ(parsed.url->host, row.host) << row.text;
    EXPECT_EQ(parsed.url->target, row.target) << row.text;
    EXPECT_EQ(parsed.url->text, row.text);
    if (!parsed.url->is_websocket) continue;
    // What our own server takes.
    EXPECT_TRUE(net::http::is_host(parsed.url->host)) << row.text;
    EXPECT_TRUE(net::http::split_target("GET", parsed.url->target)) << row.text;
  }
}

TEST(ServerUrl, is_taken_apart) {
  expect_all({
      {"ws://127.0.0.1:8080/", "127.0.0.1:8080", "", true, "127.0.0.1:8080", "/"},
      {"ws://127.0.0.1:8080", "127.0.0.1:8080", "", true, "127.0.0.1:8080", "/"},
      {"127.0.0.1:9", "127.0.0.1:9", "", true, "127.0.0.1:9", "/"},
      {"ws://127.0.0.1", "127.0.0.1:80", "", true, "127.0.0.1", "/"},
      {"ws://127.0.0.1:80/", "127.0.0.1:80", "", true, "127.0.0.1", "/"},
      {"ws://[::1]:9/a/b?c=d", "[::1]:9", "", true, "[::1]:9", "/a/b?c=d"},
      {"ws://127.0.0.1:9?c", "127.0.0.1:9", "", true, "127.0.0.1:9", "/?c"},
      {"ws://localhost:9/", "", "localhost", true, "localhost:9", "/"},
      {"localhost", "", "localhost", true, "localhost", "/"},
      {"127.0.0.1:9/?to=http://a/", "127.0.0.1:9", "", true, "127.0.0.1:9", "/?to=http://a/"},
      {"tcp://127.0.0.1:9", "127.0.0.1:9", "", false, "127.0.0.1:9", "/"},
      {"tcp://localhost:9/", "", "localhost", false, "localhost:9", "/"},
      {"unix:/run/corelane", "unix:/run/corelane", "", false, "", "/"},
      {"unix:@a,b=[c]", "unix:@a,b=[c]", "", false, "", "/"},
  });
}

TEST(ServerUrl, names_its_scheme_in_any_case) {
  expect_all({
      {"WS://127.0.0.1:9/", "127.0.0.1:9", "", true, "127.0.0.1:9", "/"},
      {"Ws://127.0.0.1/", "127.0.0.1:80", "", true, "127.0.0.1", "/"},
      {"TCP://127.0.0.1:9", "127.0.0.1:9", "", false, "127.0.0.1:9", "/"},
      {"UNIX:/Run/A", "unix:/Run/A", "", false, "", "/"},
      {"Unix:@N", "unix:@N", "", false, "", "/"},
  });
  EXPECT_NE(parse_server_url("WSS://h/").problem.find("TLS"), std::string::npos);
  EXPECT_NE(parse_server_url("HTTP://h/").problem.find("begins with"), std::string::npos);
}

TEST(ServerUrl, sends_one_spelling_of_a_host) {
  expect_all({
      {"ws://LocalHost:9/", "", "localhost", true, "localhost:9", "/"},
      {"ws://EXAMPLE.org:80/", "", "example.org", true, "example.org", "/"},
      {"ws://example.org.:9/", "", "example.org.", true, "example.org.:9", "/"},
      {"ws://%6c%6Fcalhost:9/", "", "localhost", true, "localhost:9", "/"},
      {"ws://a_b-1.example:9/", "", "a_b-1.example", true, "a_b-1.example:9", "/"},
      {"ws://[2001:DB8:0::1]:9/", "[2001:db8::1]:9", "", true, "[2001:db8::1]:9", "/"},
      {"ws://[::ffff:127.0.0.1]:9/", "127.0.0.1:9", "", true, "127.0.0.1:9", "/"},
      {"ws://[::FFFF:7f00:1]:9/", "127.0.0.1:9", "", true, "127.0.0.1:9", "/"},
      {"ws://127.1:9/", "127.0.0.1:9", "", true, "127.0.0.1:9", "/"},
      {"ws://2130706433:9/", "127.0.0.1:9", "", true, "127.0.0.1:9", "/"},
      {"ws://0x7f.1:9/", "127.0.0.1:9", "", true, "127.0.0.1:9", "/"},
      {"ws://127.0.0.1.:9/", "127.0.0.1:9", "", true, "127.0.0.1:9", "/"},
  });
}

TEST(ServerUrl, keeps_the_zone_of_an_address_to_this_host) {
  const unsigned index = if_nametoindex("lo");
  if (index == 0) GTEST_SKIP() << "no interface lo";
  for (const std::string& zone : {std::string("lo"), fmt::format("{}", index), std::string("25lo"),
                                  fmt::format("25{}", index), std::string("25%6Co")}) {
    expect_all({
        {fmt::format("ws://[fe80::1%{}]:9/", zone), "[fe80::1%lo]:9", "", true, "[fe80::1]:9", "/"},
        {fmt::format("WS://[FE80::1%{}]/", zone), "[fe80::1%lo]:80", "", true, "[fe80::1]", "/"},
        {fmt::format("tcp://[fe80::1%{}]:9", zone), "[fe80::1%lo]:9", "", false, "[fe80::1]:9",
         "/"},
    });
  }
}

TEST(ServerUrl, is_refused_with_what_is_wrong) {
  const std::pair<std::string, std::string> rows[] = {
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
      {"ws://::1:9/", "host is missing"},
      {"ws://fe80::1:9/", "in brackets"},
      {"ws://[]:9/", "no IPv6 address"},
      {"ws://[localhost]:9/", "no IPv6 address"},
      {"ws://[fe80::1]:9/", "needs its interface"},
      {"ws://[fe80::1%no-such-if]:9/", "ip link"},
      {"ws://[fe80::1%25no-such-if]:9/", "ip link"},
      {"ws://[fe80::1%25%6]:9/", "without two digits"},
      {"ws://[fe80::1%]:9/", "only link-local"},
      {"ws://[::1%25lo]:9/", "only link-local"},
      {"ws://127.0.0.1%lo:9/", "without two digits"},
      {"ws://user:secret@127.0.0.1:9/", "user or password"},
      {"ws://user@127.0.0.1:9/", "user or password"},
      {"ws://b\xc3\xbc"
       "cher.example:9/",
       "xn--"},
      {"ws://b%C3%BCcher.example:9/", "xn--"},
      {"ws://a%2Fb:9/", "no host name"},
      {"ws://a%00:9/", "no host name"},
      {"ws://a%zz:9/", "without two digits"},
      {"ws://a..b:9/", "no host name"},
      {"ws://a,b:9/", "no host name"},
      {"ws://" + std::string(300, 'a') + ":9/", "no host name"},
      {"ws://010.0.0.1:9/", "no IPv4 address"},
      {"ws://1.2.3.4.5:9/", "no IPv4 address"},
      {"ws://256.0.0.1:9/", "no IPv4 address"},
      {"ws://127.0.0.1:9/a b", "%-escaped"},
      {"ws://127.0.0.1:9/a\r\nX: y", "%-escaped"},
      {"ws://127.0.0.1:9/100%", "%25"},
      {"ws://127.0.0.1:9/%00", "%25"},
      {"ws://127.0.0.1:9/#x", "fragment"},
      {"tcp://127.0.0.1", "needs a port"},
      {"tcp://127.0.0.1:9/path", "no path"},
      {"unix:", "unix:/path"},
      {"unix:/a\nb", "control"},
  };
  for (const auto& [text, problem] : rows) {
    const ParsedUrl parsed = parse_server_url(text);
    EXPECT_FALSE(parsed.url) << text;
    EXPECT_NE(parsed.problem.find(problem), std::string::npos) << text << ": " << parsed.problem;
  }
}

}  // namespace
}  // namespace corelane::tools
