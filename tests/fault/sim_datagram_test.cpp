// Goal: datagrams that are lost and overtake each other in the simulation, so that a program over
// UDP can be tried there. Method: numbered datagrams with a loss of one in five.
#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <set>

#include "net/datagram.hpp"
#include "runtime/combine.hpp"
#include "runtime/sim/world.hpp"
#include "tests/support/echo_streams.hpp"
#include "tests/support/on_cores.hpp"

namespace corelane {
namespace {

using namespace runtime;

TEST(SimDatagram, SomeAreLostOthersOvertakeAndNoneComesTwice) {
  std::size_t arrived = 0;
  std::size_t overtaken = 0;
  constexpr std::uint8_t kCount = 200;
  for (const std::uint64_t seed : sim::seeds(1, 5)) {
    sim::Faults faults = sim::Faults::swarm(seed, false);
    faults.datagram_loss = 200;
    sim::World world(seed, faults);
    tests::run_on_cores(1, [&]() -> Task<void> {
      auto from = net::UdpSocket::bind(tests::loopback());
      auto to = net::UdpSocket::bind(tests::loopback());
      std::set<std::byte> seen;
      std::byte last{0};
      std::array<std::byte, 8> buffer;
      for (std::uint8_t number = 0; number < kCount; ++number) {
        const std::array<std::byte, 1> one{static_cast<std::byte>(number)};
        EXPECT_TRUE(co_await from->send_to(one, *to->address()));
      }
      for (;;) {
        const auto got = co_await with_timeout(100 * kMillisecond, to->receive_from(buffer));
        if (!got) break;
        EXPECT_TRUE(seen.insert(buffer[0]).second);
        if (buffer[0] < last) ++overtaken;
        last = buffer[0];
      }
      arrived += seen.size();
    });
  }
  EXPECT_GT(arrived, 5u * kCount * 6 / 10);
  EXPECT_LT(arrived, 5u * kCount * 9 / 10);
  EXPECT_GT(overtaken, 0u);
}

}  // namespace
}  // namespace corelane
