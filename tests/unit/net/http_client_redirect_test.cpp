// Goal: redirects are followed as RFC 9110 section 15.4 says, within the bound, and what says who
// asks goes to no other origin. Method: peers that follow a script, over both rings.
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/http/client.hpp"
#include "tests/support/on_cores.hpp"
#include "tests/support/scripted_peer.hpp"

namespace corelane {
namespace {

using namespace runtime;
using namespace tests;
using net::http::ClientFault;
using net::http::fault_of;
using net::http::Field;
using net::http::HttpClient;

constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
constexpr std::string_view kBody = "body";

std::string redirect(std::string_view status, std::string_view location) {
  return "HTTP/1.1 " + std::string(status) + " There\r\nLocation: " + std::string(location) +
         "\r\nContent-Length: 4\r\n\r\ngone";
}

struct Kind {
  const char* status;
  std::string_view method;
  std::string_view becomes;
  bool has_body;
};

TEST(HttpRedirect, EachStatusKeepsMethodAndBodyOrGoesOnWithGet) {
  run_on_cores(1, []() -> Task<void> {
    constexpr std::array kKinds{
        Kind{"301", "POST", "GET", false}, Kind{"302", "POST", "GET", false},
        Kind{"303", "POST", "GET", false}, Kind{"303", "PUT", "GET", false},
        Kind{"307", "POST", "POST", true}, Kind{"308", "POST", "POST", true},
        Kind{"301", "PUT", "PUT", true},   Kind{"302", "GET", "GET", true}};
    for (const Kind& kind : kKinds) {
      std::vector<PeerStep> steps{accept_one(), take_head(), take_bytes(kBody.size()),
                                  say(redirect(kind.status, "../b?c#d")), take_head()};
      if (kind.has_body) steps.push_back(take_bytes(kBody.size()));
      steps.push_back(say(kOk));
      steps.push_back(read_to_end());
      co_await with_peer(std::move(steps), [&kind](ScriptedPeer& peer) -> Task<void> {
        HttpClient client;
        const std::string url = peer.url("/x/y/z");
        const std::array<Field, 3> fields{
            {{"Content-Type", "text/plain"}, {"Cookie", "a=b"}, {"X-Mine", "1"}}};
        auto answer = co_await client.send({.method = kind.method,
                                            .url = url,
                                            .fields = fields,
                                            .body = std::as_bytes(std::span{kBody}),
                                            .redirects_max = 1});
        EXPECT_TRUE(answer) << kind.status << net::http::describe_client_error(answer.error());
        if (!answer) co_return;
        EXPECT_EQ((co_await answer->collect()).value_or("?"), "ok");
        EXPECT_EQ(answer->redirects(), 1u);
        EXPECT_EQ(answer->url().target, "/x/b?c");
        const std::string& head = peer.heads.at(1);
        EXPECT_TRUE(head.starts_with(std::string(kind.becomes) + " /x/b?c HTTP/1.1\r\n")) << head;
        EXPECT_EQ(head.find("Content-Type") != head.npos, kind.has_body) << kind.status;
        EXPECT_EQ(head.find("Content-Length") != head.npos, kind.has_body) << kind.status;
        EXPECT_NE(head.find("Cookie: a=b"), head.npos) << "the same origin";
        EXPECT_NE(head.find("X-Mine: 1"), head.npos);
        // The body of the redirect was read: the connection carried both.
        EXPECT_EQ(client.counters().connections, 1u);
      });
    }
  });
}

TEST(HttpRedirect, AnotherOriginGetsNoCredentials) {
  run_on_cores(1, []() -> Task<void> {
    std::vector<PeerStep> there{accept_one(), take_head(), say(kOk), read_to_end()};
    co_await with_peer(std::move(there), [](ScriptedPeer& other) -> Task<void> {
      std::vector<PeerStep> here{accept_one(), take_head(), say(redirect("302", other.url("/o"))),
                                 read_to_end()};
      co_await with_peer(std::move(here), [&other](ScriptedPeer& peer) -> Task<void> {
        HttpClient client;
        const std::string url = peer.url();
        const std::array<Field, 4> fields{{{"authorization", "Basic x"},
                                           {"Cookie", "a=b"},
                                           {"Proxy-Authorization", "y"},
                                           {"Accept", "*/*"}}};
        const auto answer =
            co_await client.send({.url = url, .fields = fields, .redirects_max = 3});
        EXPECT_TRUE(answer);
        EXPECT_NE(peer.heads.at(0).find("authorization: Basic x"), std::string::npos);
        EXPECT_EQ(other.heads.at(0),
                  "GET /o HTTP/1.1\r\nHost: " + other.authority() + "\r\nAccept: */*\r\n\r\n");
      });
    });
  });
}

TEST(HttpRedirect, ALoopEndsAtTheBound) {
  run_on_cores(1, []() -> Task<void> {
    std::vector<PeerStep> steps{accept_one()};
    for (int i = 0; i < 4; ++i) {
      steps.push_back(take_head());
      steps.push_back(say(redirect("302", "/again")));
    }
    steps.push_back(read_to_end());
    co_await with_peer(std::move(steps), [](ScriptedPeer& peer) -> Task<void> {
      HttpClient client;
      const std::string url = peer.url();
      const auto answer = co_await client.send({.url = url, .redirects_max = 3});
      EXPECT_TRUE(!answer && fault_of(answer.error()) == ClientFault::too_many_redirects);
      EXPECT_EQ(peer.heads.size(), 4u);
    });
  });
}

TEST(HttpRedirect, WithoutLeaveARedirectIsTheAnswer) {
  run_on_cores(1, []() -> Task<void> {
    std::vector<PeerStep> steps{accept_one(), take_head(), say(redirect("301", "/b")),
                                read_to_end()};
    co_await with_peer(std::move(steps), [](ScriptedPeer& peer) -> Task<void> {
      HttpClient client;
      auto answer = co_await client.get(peer.url());
      EXPECT_TRUE(answer);
      if (!answer) co_return;
      EXPECT_EQ(static_cast<int>(answer->status()), 301);
      EXPECT_EQ(answer->single("location"), "/b");
      EXPECT_EQ((co_await answer->collect()).value_or("?"), "gone");
    });
  });
}

TEST(HttpRedirect, ToWhatIsNoHttpUrlIsAnError) {
  run_on_cores(1, []() -> Task<void> {
    for (const auto& [location, fault] :
         {std::pair{"ftp://127.0.0.1/", ClientFault::bad_redirect},
          std::pair{"https://127.0.0.1/", ClientFault::no_tls},
          std::pair{"http://a b/", ClientFault::bad_redirect},
          std::pair{"http+unix://%2Frun%2Fapi.sock/", ClientFault::bad_redirect},
          std::pair{"/%zz", ClientFault::bad_redirect}}) {
      std::vector<PeerStep> steps{accept_one(), take_head(), say(redirect("302", location)),
                                  read_to_end()};
      const ClientFault expected = fault;
      co_await with_peer(std::move(steps), [expected](ScriptedPeer& peer) -> Task<void> {
        HttpClient client;
        const std::string url = peer.url();
        const auto answer = co_await client.send({.url = url, .redirects_max = 3});
        EXPECT_TRUE(!answer && fault_of(answer.error()) == expected);
      });
    }
  });
}

}  // namespace
}  // namespace corelane
