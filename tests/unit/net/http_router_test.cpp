// Goal: the route that is most specific and has the method wins; paths that no route may see are
// refused. Method: tables; a naive matcher over random routes and paths.
#include "net/http/router.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/seed.hpp"

namespace corelane {
namespace {

using net::http::RouteMatch;
using net::http::Router;
using Outcome = RouteMatch::Outcome;

Router<int> make_router() {
  Router<int> router;
  router.add("GET", "/", 1);
  router.add("GET", "/healthz", 2);
  router.add("GET", "/channels/:name", 3);
  router.add("POST", "/channels/:channel", 4);
  router.add("GET", "/channels/list", 5);
  router.add("GET", "/channels/:name/members/:id", 6);
  router.add("GET", "/static/*path", 7);
  router.add("DELETE", "/static/index.html", 8);
  router.add("GET", "/dir/", 9);
  return router;
}

TEST(HttpRouter, FindsTheMostSpecificRouteThatHasTheMethod) {
  const Router<int> router = make_router();
  struct Case {
    const char* method;
    const char* path;
    int handler;  // 0: not found
  };
  for (const Case& c : {
           Case{"GET", "/", 1},
           Case{"GET", "/healthz", 2},
           Case{"GET", "/channels/news", 3},
           Case{"POST", "/channels/news", 4},
           Case{"GET", "/channels/list", 5},
           Case{"POST", "/channels/list", 4},
           Case{"GET", "/channels/list/members/7", 6},
           Case{"GET", "/static/", 7},
           Case{"GET", "/static/a/b/c", 7},
           Case{"GET", "/static/index.html", 7},
           Case{"DELETE", "/static/index.html", 8},
           Case{"GET", "/dir/", 9},
           Case{"HEAD", "/healthz", 2},
           Case{"GET", "/%68ealth%7A", 2},
           Case{"GET", "/static/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18", 7},
           Case{"GET", "/healthz/", 0},
           Case{"GET", "/Healthz", 0},
           Case{"GET", "//healthz", 0},
           Case{"GET", "/channels/", 0},
           Case{"GET", "/channels", 0},
           Case{"GET", "/static", 0},
           Case{"GET", "/dir", 0},
           Case{"GET", "/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8", 0},
       }) {
    RouteMatch match;
    const int* handler = router.lookup(c.method, c.path, match);
    EXPECT_EQ(handler == nullptr ? 0 : *handler, c.handler) << c.method << " " << c.path;
    EXPECT_EQ(match.outcome(), c.handler == 0 ? Outcome::not_found : Outcome::found) << c.path;
  }
}

TEST(HttpRouter, GivesDecodedParametersUnderTheNamesOfTheRoute) {
  const Router<int> router = make_router();
  RouteMatch match;
  ASSERT_NE(router.lookup("GET", "/channels/a%2Fb%20c/members/%C3%A9", match), nullptr);
  ASSERT_EQ(match.parameters().size(), 2U);
  EXPECT_EQ(match.parameter("name"), "a/b c");
  EXPECT_EQ(match.parameter("id"), "\xc3\xa9");
  EXPECT_EQ(match.parameter("other"), "");
  ASSERT_NE(router.lookup("POST", "/channels/x+y", match), nullptr);
  EXPECT_EQ(match.parameter("channel"), "x+y") << "'+' is a space in forms only";
  ASSERT_NE(router.lookup("GET", "/static/css/a%20b.css", match), nullptr);
  EXPECT_EQ(match.parameter("path"), "css/a b.css");
  ASSERT_NE(router.lookup("GET", "/static/", match), nullptr);
  EXPECT_EQ(match.parameter("path"), "");
}

TEST(HttpRouter, ListsWhatIsAllowedOverAllRoutesOfThePath) {
  const Router<int> router = make_router();
  RouteMatch match;
  EXPECT_EQ(router.lookup("PUT", "/channels/list", match), nullptr);
  EXPECT_EQ(match.outcome(), Outcome::method_not_allowed);
  EXPECT_EQ(router.allow(match), "GET, POST, HEAD, OPTIONS");
  EXPECT_EQ(router.lookup("UNKNOWN", "/static/index.html", match), nullptr);
  EXPECT_EQ(match.outcome(), Outcome::method_not_allowed);
  EXPECT_EQ(router.allow(match), "GET, DELETE, HEAD, OPTIONS");
  EXPECT_EQ(router.lookup("HEAD", "/channels/", match), nullptr);
  EXPECT_EQ(match.outcome(), Outcome::not_found);
  EXPECT_EQ(router.lookup("get", "/healthz", match), nullptr) << "methods have case";
  EXPECT_EQ(match.outcome(), Outcome::method_not_allowed);
}

TEST(HttpRouter, AnswersOptionsFromTheTableUnlessTheyHaveAHandler) {
  Router<int> router = make_router();
  RouteMatch match;
  EXPECT_EQ(router.lookup("OPTIONS", "/healthz", match), nullptr);
  EXPECT_EQ(match.outcome(), Outcome::options);
  EXPECT_EQ(router.allow(match), "GET, HEAD, OPTIONS");
  EXPECT_EQ(router.lookup("OPTIONS", "*", match), nullptr);
  EXPECT_EQ(match.outcome(), Outcome::options);
  EXPECT_EQ(router.allow(match), "GET, POST, DELETE, HEAD, OPTIONS");
  EXPECT_EQ(router.lookup("OPTIONS", "/nothing", match), nullptr);
  EXPECT_EQ(match.outcome(), Outcome::not_found);
  router.add("OPTIONS", "/healthz", 20);
  const int* handler = router.lookup("OPTIONS", "/healthz", match);
  ASSERT_NE(handler, nullptr);
  EXPECT_EQ(*handler, 20);
  EXPECT_EQ(router.lookup("PUT", "/healthz", match), nullptr);
  EXPECT_EQ(router.allow(match), "GET, OPTIONS, HEAD");
}

TEST(HttpRouter, RefusesPathsThatHideSomething) {
  Router<int> router = make_router();
  for (const char* path : {"", "healthz", "*", "/static/..", "/static/../etc", "/static/%2e%2E/etc",
                           "/./healthz", "/static/..%2fetc", "/static/%", "/static/%2",
                           "/static/%zz", "/static/%00", "/static/a%", "/static/a%0"}) {
    RouteMatch match;
    EXPECT_EQ(router.lookup("GET", path, match), nullptr) << path;
    EXPECT_EQ(match.outcome(), Outcome::malformed) << path;
  }
  RouteMatch match;
  EXPECT_NE(router.lookup("GET", "/static/...", match), nullptr);
  EXPECT_NE(router.lookup("GET", "/static/.well-known", match), nullptr);
  const std::string long_path = "/static/%41" + std::string(RouteMatch::kDecodedBytesMax, 'x');
  EXPECT_EQ(router.lookup("GET", long_path, match), nullptr);
  EXPECT_EQ(match.outcome(), Outcome::malformed);
}

TEST(HttpRouter, RefusesRoutesThatConflictOrCannotMatch) {
  Router<int> router = make_router();
  EXPECT_THROW(router.add("GET", "/healthz", 0), std::invalid_argument);
  EXPECT_THROW(router.add("GET", "/channels/:other", 0), std::invalid_argument);
  EXPECT_THROW(router.add("GET", "/static/*rest", 0), std::invalid_argument);
  for (const char* pattern : {"/healthz", "/channels/:other", "/static/*rest"}) {
    EXPECT_TRUE(router.has_route("GET", pattern)) << pattern;
    EXPECT_FALSE(router.has_route("PATCH", pattern)) << pattern;
  }
  for (const char* pattern : {"/x", "/health", "/healthz/", "/*all", "/:one", "/channels/:a/:b"}) {
    EXPECT_FALSE(router.has_route("GET", pattern)) << pattern;
  }
  for (const char* pattern :
       {"", "x", "/a//b", "/*", "/:", "/*tail/b", "/:a/:a", "/:a-b", "/a/..",
        "/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17", "/:a/:b/:c/:d/:e/:f/:g/:h/:i"}) {
    EXPECT_THROW(router.add("GET", pattern, 0), std::invalid_argument) << pattern;
  }
  EXPECT_THROW(router.add("G T", "/x", 0), std::invalid_argument);
  EXPECT_NO_THROW(router.add("PUT", "/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/*tail", 0));
  EXPECT_NO_THROW(router.add("PUT", "/:a/:b/:c/:d/:e/:f/:g/:h", 0));
}

TEST(HttpRouter, ATailAtTheRootTakesWhatNothingElseTakes) {
  Router<int> router;
  router.add("GET", "/*all", 1);
  router.add("GET", "/a/:b", 2);
  RouteMatch match;
  for (const char* path : {"/", "/a", "/a/", "/a/b/c"}) {
    const int* handler = router.lookup("GET", path, match);
    ASSERT_NE(handler, nullptr) << path;
    EXPECT_EQ(*handler, 1) << path;
    EXPECT_EQ(match.parameter("all"), std::string_view{path}.substr(1));
    EXPECT_EQ(match.parameters().size(), 1U) << "what was tried before leaves nothing behind";
  }
  ASSERT_NE(router.lookup("GET", "/a/b", match), nullptr);
  EXPECT_EQ(match.parameter("b"), "b");
}

using Segments = std::vector<std::string>;

Segments split(std::string_view path) {
  Segments segments;
  path.remove_prefix(1);
  while (!path.empty()) {
    const std::size_t slash = std::min(path.find('/'), path.size());
    segments.emplace_back(path.substr(0, slash));
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  return segments;
}

// The order of precedence as text, smallest first: at the first difference static is before
// parameter is before tail. Nothing if the pattern does not match.
std::optional<std::string> rank(const Segments& pattern, const Segments& path) {
  std::string ranks;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i][0] == '*')
      return i < path.size() || (i == 0 && path.empty()) ? std::optional{ranks + '2'}
                                                         : std::nullopt;
    if (i >= path.size()) return std::nullopt;
    if (pattern[i][0] == ':') {
      ranks += '1';
    } else if (pattern[i] == path[i]) {
      ranks += '0';
    } else {
      return std::nullopt;
    }
  }
  return pattern.size() == path.size() ? std::optional{ranks} : std::nullopt;
}

TEST(HttpRouter, AgreesWithANaiveMatcherOverRandomTables) {
  const tests::Seed seed = tests::test_seed();
  std::mt19937_64 random{seed.mixed()};
  for (int round = 0; round < 300; ++round) {
    Router<int> router;
    std::vector<std::pair<Segments, int>> patterns;
    for (int i = 0; i < 12; ++i) {
      std::string pattern;
      const std::size_t depth = 1 + random() % 4;
      for (std::size_t d = 0; d < depth; ++d) {
        switch (random() % (d + 1 == depth ? 4 : 3)) {
          case 0:
            pattern += "/a";
            break;
          case 1:
            pattern += "/b";
            break;
          case 2:
            pattern += "/:p" + std::to_string(d);
            break;
          default:
            pattern += "/*t";
            break;
        }
      }
      try {
        router.add("GET", pattern, i);
        patterns.emplace_back(split(pattern), i);
      } catch (const std::invalid_argument&) {
        const auto same = [&pattern](const auto& known) { return known.first == split(pattern); };
        ASSERT_TRUE(std::any_of(patterns.begin(), patterns.end(), same)) << pattern;
      }
    }
    for (int i = 0; i < 100; ++i) {
      std::string path;
      for (std::size_t d = 1 + random() % 5; d > 0; --d)
        path += std::string{"/"} + "abc"[random() % 3];
      std::optional<std::pair<std::string, int>> best;
      for (const auto& [pattern, handler] : patterns) {
        const auto ranks = rank(pattern, split(path));
        if (ranks && (!best || *ranks < best->first)) best.emplace(*ranks, handler);
      }
      RouteMatch match;
      const int* handler = router.lookup("GET", path, match);
      ASSERT_EQ(handler != nullptr, best.has_value()) << path;
      if (best) {
        ASSERT_EQ(*handler, best->second) << path;
      }
    }
  }
}

}  // namespace
}  // namespace corelane
