// Goal: in steady state a request on an open connection costs no allocation: not the parser when
// the request lies in one buffer, not a lookup, not a response into a vector that has been used
// before. Method: the global allocation functions count; a first round may allocate, later ones
// not.
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "net/http/request_parser.hpp"
#include "net/http/response.hpp"
#include "net/http/router.hpp"
#include "tests/support/counted_allocations.hpp"
#include "tests/unit/net/http_support.hpp"

namespace corelane {
namespace {

using http_test::as_bytes;
using net::http::RequestParser;
using tests::allocations;
using Event = RequestParser::Event;

std::size_t allocations_of_later_rounds(RequestParser& parser, std::string_view text,
                                        std::size_t cut) {
  std::size_t before = 0;
  for (int round = 0; round < 5; ++round) {
    if (round == 1) before = allocations;
    auto progress = parser.feed(as_bytes(text.substr(0, cut)));
    if (cut < text.size()) progress = parser.feed(as_bytes(text.substr(cut)));
    EXPECT_EQ(progress.event, Event::complete);
    parser.reset();
  }
  return allocations - before;
}

TEST(HttpAllocation, TheCounterCounts) {
  const std::size_t before = allocations;
  void* memory = ::operator new(1);
  const std::size_t after = allocations;
  ::operator delete(memory);
  EXPECT_EQ(after, before + 1);
}

TEST(HttpAllocation, ASmallRequestCostsNoneWholeOrCut) {
  RequestParser parser;
  const std::string_view get =
      "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/7.88.1\r\n\r\n";
  const std::string_view post =
      "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 26\r\n\r\nabcdefghijklmnopqrstuvwxyz";
  const std::string_view chunked =
      "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
  for (const std::string_view text : {get, post, chunked}) {
    EXPECT_EQ(allocations_of_later_rounds(parser, text, text.size()), 0U) << text;
    EXPECT_EQ(allocations_of_later_rounds(parser, text, 30), 0U) << text;
  }
}

TEST(HttpAllocation, ALookupAndAResponseCostNone) {
  net::http::Router<int> router;
  router.add("GET", "/channels/:name/*tail", 1);
  std::vector<std::byte> out;
  net::http::RouteMatch match;
  const std::string body(5000, 'x');
  std::size_t before = 0;
  for (int round = 0; round < 5; ++round) {
    if (round == 1) before = allocations;
    out.clear();
    for (const std::string_view path :
         {"/channels/a%20channel%20with%20a%20long%20name/x/y", "/channels/b/", "/nothing", "/%"}) {
      router.lookup("GET", path, match);
    }
    ASSERT_TRUE(net::http::write_response(out, net::http::Status::ok, {}, {}, body));
  }
  EXPECT_EQ(allocations - before, 0U);
}

}  // namespace
}  // namespace corelane
