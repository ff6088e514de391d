#pragma once
// The common part of tests of deferred answers: routes that keep their responders at a Desk, one a
// test, and raw clients against the routes.

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/http/deferred.hpp"
#include "net/http/server.hpp"
#include "runtime/await.hpp"
#include "tests/support/http_site.hpp"

namespace corelane::tests {

// The state that the routes keep.
struct Desk {
  std::vector<net::http::DeferredResponder> kept;
  std::vector<std::string> told;  // notes of coroutines, in order
  bool may_answer = false;        // for the coroutines of /waits
  runtime::WaitQueue changed;

  void note(std::string text) {
    told.push_back(std::move(text));
    changed.wake_all(runtime::WaitQueue::Outcome::granted);
  }
  runtime::Task<void> until_kept(std::size_t count) {
    while (kept.size() < count) {
      runtime::WaitQueue::Waiter waiter{changed};
      co_await waiter;
    }
  }
  runtime::Task<void> until_told(std::size_t count) {
    while (told.size() < count) {
      runtime::WaitQueue::Waiter waiter{changed};
      co_await waiter;
    }
  }
  void let_answer() {
    may_answer = true;
    changed.wake_all(runtime::WaitQueue::Outcome::granted);
  }
};

inline void later(void* context, const net::http::Request&, const net::http::RouteMatch&,
                  net::http::Responder& to) {
  auto& desk = *static_cast<Desk*>(context);
  desk.kept.push_back(to.defer());
  EXPECT_EQ(to.defer().id(), desk.kept.back().id());
  EXPECT_FALSE(to.respond(net::http::Status::ok, "text/plain", "it is deferred"));
  desk.changed.wake_all(runtime::WaitQueue::Outcome::granted);
}
inline runtime::Task<void> sleeps(void* context, const net::http::OwnedRequest&,
                                  net::http::DeferredResponder to) {
  const bool slept = co_await runtime::sleep_for(3600 * runtime::kSecond);
  static_cast<Desk*>(context)->note(slept ? "slept" : "cancelled");
  EXPECT_EQ(to.respond(net::http::Status::ok, "text/plain", "late"), net::http::Delivery::gone);
}

// The routes of a test: those above, at /hello, /later and /sleeps, and more.
using AddRoutes = void (*)(net::http::Routes& routes, Desk& desk);
inline net::http::Routes routes_of(Desk& desk, AddRoutes add) {
  net::http::Routes routes;
  routes.add("GET", "/hello", {.run = site_routes::hello});
  routes.add("GET", "/later", {.run = later, .context = &desk});
  routes.add("GET", "/sleeps", {.context = &desk, .coroutine = sleeps});
  add(routes, desk);
  return routes;
}

template <class Body>
void run_at_desk(AddRoutes add, SiteOptions options, Body body, runtime::CoreId cores = 1) {
  Desk desk;
  const net::http::Routes routes = routes_of(desk, add);
  options.routes = &routes;
  options.cores = cores;
  run_site(options, body, desk);
}

// The answers to `text`, whose last request ends the connection.
inline std::vector<HttpAnswer> answers_at_desk(AddRoutes add, const std::string& text,
                                               SiteOptions options = {}) {
  Desk desk;
  const net::http::Routes routes = routes_of(desk, add);
  options.routes = &routes;
  return answers_in(exchange_at(options, text).received);
}

}  // namespace corelane::tests
