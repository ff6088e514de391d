// Goal: a datagram arrives whole or not at all, with its sender, and a wait for one ends when it is
// told to. Method: sockets on one core, over both rings; loss in the simulation.
#include "net/datagram.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <string_view>
#include <utility>

#include "runtime/combine.hpp"
#include "runtime/task_group.hpp"
#include "tests/support/echo_streams.hpp"
#include "tests/support/on_cores.hpp"

namespace corelane {
namespace {

using namespace runtime;
using net::UdpSocket;
using tests::loopback;
using tests::run_on_cores;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span{text});
}

TEST(Datagram, ArrivesWholeWithItsSender) {
  const std::string name = ::testing::TempDir() + "corelane_datagram_test";
  for (const std::string& where : {std::string{"127.0.0.1:0"}, std::string{"[::1]:0"}, name}) {
    const bool is_unix = where == name;
    ::unlink((name + "1").c_str());
    ::unlink((name + "2").c_str());
    run_on_cores(1, [&]() -> Task<void> {
      const auto address_of = [&](const char* suffix) {
        return *Address::parse(is_unix ? "unix:" + where + suffix : where);
      };
      auto one = UdpSocket::bind(address_of("1"));
      auto other = UdpSocket::bind(address_of("2"));
      EXPECT_TRUE(one && other) << where;
      if (!one || !other) co_return;
      EXPECT_TRUE(co_await one->send_to(bytes_of("question"), *other->address()));
      EXPECT_TRUE(co_await one->send_to({}, *other->address()));
      std::array<std::byte, 100> buffer;
      std::size_t lengths = 0;
      for (int i = 0; i < 2; ++i) {
        const auto got = co_await other->receive_from(buffer);
        EXPECT_TRUE(got);
        if (!got) co_return;
        lengths += got->bytes;
        EXPECT_FALSE(got->is_cut);
        EXPECT_EQ(got->from.text(), one->address()->text());
        EXPECT_TRUE(co_await other->send_to(bytes_of("answer"), got->from));
      }
      EXPECT_EQ(lengths, 8u);
      const auto answer = co_await one->receive_from(std::span{buffer}.first(3));
      EXPECT_TRUE(answer);
      if (answer) {
        EXPECT_TRUE(answer->is_cut);
      }
      if (answer) {
        EXPECT_EQ(answer->bytes, 3u);
      }
    });
  }
}

TEST(Datagram, AConnectedSocketHearsItsPeerAlone) {
  run_on_cores(1, []() -> Task<void> {
    auto server = UdpSocket::bind(loopback());
    auto client = UdpSocket::bind(loopback());
    auto stranger = UdpSocket::bind(loopback());
    std::array<std::byte, 100> buffer;
    EXPECT_FALSE(co_await client->send(bytes_of("to nobody")));
    EXPECT_TRUE(client->connect(*server->address()));
    EXPECT_TRUE(co_await stranger->send_to(bytes_of("noise"), *client->address()));
    EXPECT_TRUE(co_await client->send(bytes_of("hello")));
    const auto hello = co_await server->receive_from(buffer);
    EXPECT_TRUE(co_await server->send_to(bytes_of("to you"), hello->from));
    const auto answer = co_await client->receive_from(buffer);
    EXPECT_EQ(answer->bytes, 6u);
    const auto more = co_await with_timeout(5 * kMillisecond, client->receive_from(buffer));
    EXPECT_FALSE(more);
  });
}

TEST(Datagram, AnAddressHasOneSocketAndAWaitCanBeCancelled) {
  run_on_cores(1, []() -> Task<void> {
    auto socket = UdpSocket::bind(loopback());
    const auto second = UdpSocket::bind(*socket->address());
    EXPECT_FALSE(second);
    if (!second) {
      EXPECT_EQ(second.error(), Error::from_errno(EADDRINUSE));
    }
    std::array<std::byte, 100> buffer;
    const auto none = co_await with_timeout(kMillisecond, socket->receive_from(buffer));
    EXPECT_FALSE(none);
    if (!none) {
      EXPECT_EQ(none.error().code, ErrorCode::timed_out);
    }
    EXPECT_TRUE(co_await socket->send_to(bytes_of("to myself"), *socket->address()));
    const auto got = co_await socket->receive_from(buffer);
    EXPECT_EQ(got->bytes, 9u);
    UdpSocket moved = std::move(*socket);
    EXPECT_TRUE(co_await moved.send_to(bytes_of("x"), *moved.address()));
    EXPECT_TRUE(co_await moved.receive_from(buffer));
  });
}

}  // namespace
}  // namespace corelane
