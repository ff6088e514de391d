// Goal: URLs of clients are split, normalised or refused as RFC 3986, RFC 9110 and RFC 6455 say,
// and references are resolved. Method: tables; those of references are RFC 3986 section 5.4.
#include "net/http/url.hpp"

#include <gtest/gtest.h>
#include <net/if.h>

#include <array>
#include <string>

namespace corelane {
namespace {

using net::http::parse_url;
using net::http::ParsedUrl;
using net::http::resolve_reference;
using net::http::UrlKind;

struct Good {
  const char* text;
  const char* host;
  const char* target;
  std::uint16_t port;
};

TEST(HttpUrl, IsSplitAndNormalised) {
  for (const Good& good :
       {Good{"http://example.org", "example.org", "/", 80},
        Good{"HTTP://Example.ORG:80/A?b#c", "example.org", "/A?b", 80},
        Good{"http://example.org:8080?q", "example.org:8080", "/?q", 8080},
        Good{"http://127.1:9/x", "127.0.0.1:9", "/x", 9},
        Good{"http://[::1]:9/", "[::1]:9", "/", 9},
        Good{"http://%6c%6fcalhost/", "localhost", "/", 80}, Good{"http://h#f", "h", "/", 80},
        Good{"https://example.org/", "example.org", "/", 443},
        Good{"https://example.org:80/", "example.org:80", "/", 80}}) {
    const ParsedUrl parsed = parse_url(good.text);
    ASSERT_TRUE(parsed.url) << good.text << ": " << parsed.problem;
    EXPECT_EQ(parsed.url->host, good.host) << good.text;
    EXPECT_EQ(parsed.url->target, good.target) << good.text;
    EXPECT_EQ(parsed.url->port, good.port) << good.text;
    EXPECT_EQ(parsed.url->is_secure, good.text[4] == 's') << good.text;
    EXPECT_EQ(parsed.url->address.has_value(), parsed.url->name.empty()) << good.text;
  }
}

TEST(HttpUrl, WhatIsNoneIsRefusedWithAReason) {
  for (const std::string& text :
       {std::string{""}, std::string{"example.org"}, std::string{"ftp://a/"},
        std::string{"http://"}, std::string{"http:///x"}, std::string{"http://a:0/"},
        std::string{"http://a:99999/"}, std::string{"http://a b/"}, std::string{"http://a/b c"},
        std::string{"http://a/%2"}, std::string{"http://a/\r\nX: y"}, std::string{"http://u:p@a/"},
        std::string{"ws://a/"}, std::string{"http+unix:///x"},
        "http://a/" + std::string(9'000, 'x')}) {
    const ParsedUrl parsed = parse_url(text);
    EXPECT_FALSE(parsed.url) << text;
    EXPECT_FALSE(parsed.problem.empty()) << text;
  }
}

TEST(HttpUrl, AWebSocketHasNoFragment) {
  EXPECT_TRUE(parse_url("ws://a/b", UrlKind::websocket).url);
  EXPECT_TRUE(parse_url("wss://a/b", UrlKind::websocket).url->is_secure);
  EXPECT_FALSE(parse_url("ws://a/b#c", UrlKind::websocket).url);
  EXPECT_FALSE(parse_url("http://a/b", UrlKind::websocket).url);
}

TEST(HttpUrl, AUnixSocketIsAnOriginOfItsOwn) {
  const ParsedUrl parsed = parse_url("http+unix://%2Frun%2Fapi.sock/v1?x");
  ASSERT_TRUE(parsed.url) << parsed.problem;
  EXPECT_EQ(parsed.url->address->text(), "unix:/run/api.sock");
  EXPECT_EQ(parsed.url->host, "localhost");
  EXPECT_EQ(parsed.url->target, "/v1?x");
  EXPECT_FALSE(parsed.url->has_origin_of(*parse_url("http://localhost/").url));
  EXPECT_FALSE(parse_url("http://a/").url->has_origin_of(*parse_url("https://a:80/").url));
  EXPECT_TRUE(parse_url("http://a/").url->has_origin_of(*parse_url("http://A:80/x").url));
}

TEST(HttpUrl, WhatIsElsewhereIsAnotherOrigin) {
  const auto url = [](std::string_view text) {
    const ParsedUrl parsed = parse_url(text);
    EXPECT_TRUE(parsed.url) << text << parsed.problem;
    return parsed.url.value_or(net::http::Url{});
  };
  const net::http::Url loop = url("http://[fe80::1%lo]:80/");
  EXPECT_TRUE(loop.has_origin_of(url("http://[FE80::1%25lo]/x")));
  EXPECT_EQ(loop.host, "[fe80::1]");
  EXPECT_EQ(loop.site, "[fe80::1]%lo");
  for (unsigned index = 2; index < 20; ++index) {
    std::array<char, IF_NAMESIZE> name{};
    if (if_indextoname(index, name.data()) == nullptr) continue;
    EXPECT_FALSE(loop.has_origin_of(url("http://[fe80::1%" + std::string(name.data()) + "]/")));
  }
  // A socket's path is anything, also what a host looks like.
  EXPECT_FALSE(url("http+unix://81/").has_origin_of(url("http://unix:81/")));
  EXPECT_TRUE(url("http+unix://81/a").has_origin_of(url("http+unix://81/b")));
  EXPECT_FALSE(url("http+unix://81/a").has_origin_of(url("http+unix://82/a")));
}

TEST(HttpUrl, ReferencesAreResolved) {
  const auto base = parse_url("http://a/b/c/d;p?q");
  ASSERT_TRUE(base.url);
  for (const auto& [reference, target] :
       {std::pair{"g", "/b/c/g"},      std::pair{"./g", "/b/c/g"},
        std::pair{"g/", "/b/c/g/"},    std::pair{"/g", "/g"},
        std::pair{"?y", "/b/c/d;p?y"}, std::pair{"g?y", "/b/c/g?y"},
        std::pair{"#s", "/b/c/d;p?q"}, std::pair{"g#s", "/b/c/g"},
        std::pair{";x", "/b/c/;x"},    std::pair{"", "/b/c/d;p?q"},
        std::pair{".", "/b/c/"},       std::pair{"./", "/b/c/"},
        std::pair{"..", "/b/"},        std::pair{"../g", "/b/g"},
        std::pair{"../..", "/"},       std::pair{"../../g", "/g"},
        std::pair{"../../../g", "/g"}, std::pair{"/./g", "/g"},
        std::pair{"/../g", "/g"},      std::pair{"g.", "/b/c/g."},
        std::pair{"..g", "/b/c/..g"},  std::pair{"./g/.", "/b/c/g/"},
        std::pair{"g/../h", "/b/c/h"}, std::pair{"g?y/../x", "/b/c/g?y/../x"}}) {
    const ParsedUrl resolved = resolve_reference(*base.url, reference);
    ASSERT_TRUE(resolved.url) << reference << resolved.problem;
    EXPECT_EQ(resolved.url->target, target) << reference;
    EXPECT_EQ(resolved.url->host, "a") << reference;
  }
  EXPECT_EQ(resolve_reference(*base.url, "//h:8/x").url->host, "h:8");
  EXPECT_EQ(resolve_reference(*base.url, "http://h/x").url->host, "h");
  EXPECT_TRUE(resolve_reference(*base.url, "https://h/x").url->is_secure);
  EXPECT_FALSE(resolve_reference(*base.url, "mailto:x").url);
  EXPECT_FALSE(resolve_reference(*base.url, "a b").url);
}

}  // namespace
}  // namespace corelane
