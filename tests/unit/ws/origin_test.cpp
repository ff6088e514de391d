// Goal: each entry of a list of origins either matches what browsers send for it, or is refused
// with the reason; none is taken and without effect. Method: a table of entries, each with Origins
// that it lets in and ones that it keeps out; a table of entries that can never match.
#include "ws/origin.hpp"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace corelane {
namespace {

using ws::OriginList;
using Texts = std::vector<std::string>;

struct Entry {
  std::string text;
  Texts in;
  Texts out;
};

const Entry kEntries[] = {
    {"https://x",
     {"https://x", "HTTPS://X", "https://x:443", "https://x:"},
     {"http://x", "https://x:80", "https://y", "https://a.x", "null"}},
    {"HTTPS://X.Example", {"https://x.example"}, {}},
    {"https://x:443", {"https://x", "https://x:443"}, {"http://x:443", "https://x:444"}},
    {"http://x:80", {"http://x"}, {"https://x"}},
    {"http://x:", {"http://x"}, {"http://x:8080"}},
    {"https://x:8443", {"https://x:8443"}, {"https://x", "http://x:8443"}},
    {"https://*.x",
     {"https://a.x", "https://A.X:443", "https://xn--mnchen-3ya.x"},
     {"https://x", "https://.x", "https://a.b.x", "https://evilx", "https://a.x.evil", "http://a.x",
      "https://a.x:444"}},
    {"https://*.*.x", {"https://a.b.x"}, {"https://a.x", "https://a.b.c.x", "https://.b.x"}},
    {"https://*.b\u00fccher.example",
     {"https://a.xn--bcher-kva.example"},
     {"https://xn--bcher-kva.example"}},
    {"https://B\u00dcCHER.example", {"https://xn--bcher-kva.example"}, {"https://bucher.example"}},
    {"https://stra\u00dfe.de", {"https://xn--strae-oqa.de"}, {"https://strasse.de"}},
    {"https://\u4f8b\u3048\u3002\u30c6\u30b9\u30c8", {"https://xn--r8jz45g.xn--zckzah"}, {}},
    {"https://xn--bcher-kva.example", {"https://XN--bcher-kva.example"}, {}},
    {"https://xn--53h.example", {"https://xn--53h.example"}, {}},
    {"http://localhost:*",
     {"http://localhost", "http://localhost:3000"},
     {"https://localhost:3000", "http://localhost.x:3000"}},
    {"https://*", {"https://a", "https://a.b", "https://[::1]"}, {"http://a", "https://a:444"}},
    {"https://*:*", {"https://a:444"}, {"http://a"}},
    {"http://[::1]:8080",
     {"http://[::1]:8080", "http://[0:0:0:0:0:0:0:1]:8080"},
     {"http://[::2]:8080"}},
    {"http://[0::1]", {"http://[::1]"}, {"http://1"}},
    {"http://127.0.0.1:8080", {"http://127.0.0.1:8080"}, {"http://127.0.0.1"}},
    {"https://a_b.example", {"https://a_b.example"}, {}},
    {"https://x.", {"https://x."}, {"https://x"}},
    {"null", {"null"}, {"file://", "https://null", "NULL"}},
    {"file://", {"file://"}, {"null", "file:///", "file://x"}},
    {"moz-extension://*",
     {"moz-extension://8e6f4a3c-0000-4000-8000-0123456789ab"},
     {"chrome-extension://abc", "moz-extension://"}},
    {"chrome-extension://abcdefghijklmnop",
     {"chrome-extension://abcdefghijklmnop"},
     {"chrome-extension://b"}},
    {"chrome-extension://*:*", {"chrome-extension://abc"}, {"moz-extension://abc"}},
    {"capacitor://localhost", {"capacitor://localhost"}, {"http://localhost"}},
    {"app://.", {"app://."}, {}},
    {"*", {"https://x", "null", "file://", "moz-extension://a"}, {}},
};

TEST(Origin, EveryEntryThatIsTakenMatchesWhatBrowsersSendForIt) {
  for (const Entry& entry : kEntries) {
    EXPECT_EQ(ws::read_origin_entry(entry.text).problem, "") << entry.text;
    OriginList list;
    list.assign({"https://other.example", entry.text});
    for (const std::string& origin : entry.in)
      EXPECT_TRUE(list.matches(origin)) << entry.text << " for " << origin;
    for (const std::string& origin : entry.out)
      EXPECT_FALSE(list.matches(origin)) << entry.text << " for " << origin;
  }
}

struct Refused {
  std::string text;
  std::string problem;  // a part of it
};

const Refused kRefused[] = {
    {"", "the scheme is missing"},
    {"example.org", "the scheme is missing"},
    {"://x", "the scheme is missing"},
    {"1x://y", "its scheme is none"},
    {"https://", "no host"},
    {"https://:443", "no host"},
    {"https://*.", "no host"},
    {"https://x/", "without a path"},
    {"https://x/path", "without a path"},
    {"https://x?y", "without a path"},
    {"https://x\\y", "without a path"},
    {"https://u@x", "user information"},
    {"https:// x", "blank"},
    {"https://x\n", "blank"},
    {"https://x:0", "1 to 65535"},
    {"https://x:65536", "1 to 65535"},
    {"https://x:0443", "1 to 65535"},
    {"https://x:https", "1 to 65535"},
    {"https://x:1:2", "1 to 65535"},
    {"wss://x", "http or https"},
    {"ws://x:8080", "http or https"},
    {"blob:https://x", "its scheme is none"},
    {"data://x", "\"null\""},
    {"ftp://x:21", "over ftp"},
    {"FTP://x", "over ftp"},
    {"ftp://*", "over ftp"},
    {"moz-extension://abc:443", "no port"},
    {"chrome-extension://abc:1", "no port"},
    {"safari-web-extension://*:80", "no port"},
    {"file:///home", "\"file://\""},
    {"https://a*.x", "whole label"},
    {"https://a.*.x", "whole label"},
    {"https://*x", "whole label"},
    {"https://x.*", "whole label"},
    {"https://a..x", "empty label"},
    {"https://.x", "empty label"},
    {"https://x..", "empty label"},
    {"https://" + std::string(64, 'a'), "63"},
    {"https://" + std::string(63, 'a') + "." + std::string(63, 'a') + "." + std::string(63, 'a') +
         "." + std::string(63, 'a'),
     "253"},
    {"https://a,b", "','"},
    {"https://m%C3%BCnchen.example", "'%'"},
    {"https://xn--zzzzzzzzz.example", "xn--"},
    {"https://\u2615.example", "ASCII form"},
    {"https://\xff.example", "ASCII form"},
    {"http://127.1", "127.0.0.1"},
    {"http://0x7f.0.0.1", "127.0.0.1"},
    {"http://127.0.0.01", "127.0.0.1"},
    {"http://2130706433", "127.0.0.1"},
    {"http://*.0.0.1", "wildcard before an address"},
    {"http://*.[::1]", "wildcard before an address"},
    {"http://[::1", "IPv6"},
    {"http://[::1%25eth0]", "IPv6"},
    {"http://[127.0.0.1]", "IPv6"},
    {"moz-extension://\u00fc", "character"},
    {"NULL", "the scheme is missing"},
};

TEST(Origin, AnEntryThatCanNeverMatchIsRefusedWithTheReason) {
  for (const Refused& refused : kRefused) {
    const std::string problem = ws::read_origin_entry(refused.text).problem;
    EXPECT_NE(problem, "") << refused.text;
    EXPECT_NE(problem.find(refused.problem), problem.npos) << refused.text << ": " << problem;
    OriginList list;
    EXPECT_THROW(list.assign({refused.text}), std::invalid_argument) << refused.text;
  }
}

TEST(Origin, AnEmptyListMatchesNothing) {
  const OriginList list;
  for (const char* origin : {"", "null", "https://x", "*"}) EXPECT_FALSE(list.matches(origin));
  EXPECT_FALSE(list.allows_any());
}

}  // namespace
}  // namespace corelane
