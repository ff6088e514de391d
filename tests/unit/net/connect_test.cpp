// Goal: a name becomes a stream to the first of its addresses that answers, and a name without one
// an error that says so. Method: resolvers of the test, and the system's for what needs no network;
// a listener and ports without a socket, over both rings.
#include "net/connect.hpp"

#include <gtest/gtest.h>
#include <netdb.h>

#include <cerrno>
#include <string>

#include "runtime/combine.hpp"
#include "tests/support/on_cores.hpp"
#include "tests/support/tcp_pair.hpp"

namespace corelane {
namespace {

using namespace runtime;
using net::NameAnswer;
using tests::loopback;
using tests::run_on_cores;

NameAnswer both_families(const std::string& name) {
  EXPECT_EQ(name, "name.example");
  return {.addresses = {*Address::parse("[::1]:0"), *Address::parse("127.0.0.1:0")}};
}

TEST(Connect, ANameBecomesAStreamToTheFirstAddressThatAnswers) {
  run_on_cores(1, []() -> Task<void> {
    auto listener = net::TcpListener::listen(loopback());  // IPv4 alone: the first one is refused
    const std::uint16_t port = listener->address()->port();
    auto stream = co_await net::connect("name.example", port, both_families);
    EXPECT_TRUE(stream) << describe(stream.error());
    if (!stream) co_return;
    auto server = co_await listener->accept();
    EXPECT_TRUE(co_await server->write_all("hello\n"));
    EXPECT_EQ((co_await stream->read_line(10)).value_or("?"), "hello");
  });
}

TEST(Connect, WhatNobodyListensOnIsRefused) {
  run_on_cores(1, []() -> Task<void> {
    const auto stream = co_await net::connect("name.example", 1, both_families);
    EXPECT_FALSE(stream);
    if (!stream) {
      EXPECT_EQ(stream.error(), Error::from_errno(ECONNREFUSED));
    }
  });
}

TEST(Connect, ANameWithoutAnAddressIsAnErrorThatSaysSo) {
  run_on_cores(1, []() -> Task<void> {
    const auto nothing = [](const std::string&) { return NameAnswer{.error = EAI_AGAIN}; };
    const auto addresses = co_await net::resolve("name.example", 80, nothing);
    EXPECT_FALSE(addresses);
    if (!addresses) {
      EXPECT_EQ(addresses.error(), (Error{ErrorCode::invalid_argument, EAI_AGAIN}));
    }
    const auto failing = [](const std::string&) {
      return NameAnswer{.error = EAI_SYSTEM, .system_error = EMFILE};
    };
    const auto stream = co_await net::connect("name.example", 80, failing);
    EXPECT_FALSE(stream);
    if (!stream) {
      EXPECT_EQ(stream.error(), Error::from_errno(EMFILE));
    }
  });
}

TEST(Connect, AnAddressAsATextIsNotAskedFor) {
  run_on_cores(1, []() -> Task<void> {
    const auto nobody = [](const std::string& name) {
      ADD_FAILURE() << name;
      return NameAnswer{};
    };
    for (const char* text : {"127.0.0.1", "::1"}) {
      const auto addresses = co_await net::resolve(text, 81, nobody);
      EXPECT_TRUE(addresses);
      if (addresses) {
        EXPECT_EQ(addresses->size(), 1u);
      }
      if (addresses) {
        EXPECT_EQ(addresses->front().port(), 81);
      }
    }
  });
}

}  // namespace
}  // namespace corelane
