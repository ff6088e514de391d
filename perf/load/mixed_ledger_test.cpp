// Goal: the ledger takes what a server may do with pings, sends and publishes of several sessions,
// in any interleaving, and refuses what is lost, doubled, out of order, damaged or somebody else's.
// Method: three sessions on two channels, effects delivered by hand.

#include "perf/load/mixed_ledger.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace corelane::perf {
namespace {

using Bytes = std::vector<std::byte>;

class Mixed : public ::testing::Test {
 protected:
  Bytes begin(Operation operation, std::uint32_t session) {
    const auto data = ledger_.begin(operation, session, ++at_);
    return {data.begin(), data.end()};
  }

  MixedLedger ledger_{3, 2, 40};  // channels {0, 1} and {2}
  runtime::Nanoseconds at_ = 0;
};

TEST_F(Mixed, APongEndsThePingOfItsSessionWithItsTime) {
  const Bytes first = begin(Operation::ping, 1);
  const Bytes second = begin(Operation::ping, 1);
  const auto verdict = ledger_.on_pong(1, first);
  ASSERT_TRUE(verdict.good && verdict.ended);
  EXPECT_EQ(verdict.ended->operation, Operation::ping);
  EXPECT_EQ(verdict.ended->at, 1);
  EXPECT_EQ(ledger_.outstanding(), 1U);
  EXPECT_TRUE(ledger_.on_pong(1, second).good);
  EXPECT_EQ(ledger_.outstanding(), 0U);
}

TEST_F(Mixed, PongsThatAreDoubledSwappedDamagedOrSomebodyElsesAreRefused) {
  const Bytes first = begin(Operation::ping, 1);
  const Bytes second = begin(Operation::ping, 1);
  EXPECT_FALSE(ledger_.on_pong(1, second).good);
  EXPECT_FALSE(ledger_.on_pong(0, first).good);
  Bytes damaged = first;
  damaged.back() ^= std::byte{1};
  EXPECT_FALSE(ledger_.on_pong(1, damaged).good);
  EXPECT_FALSE(ledger_.on_pong(1, std::span{first}.first(20)).good);
  EXPECT_TRUE(ledger_.on_pong(1, first).good);
  EXPECT_FALSE(ledger_.on_pong(1, first).good);
}

TEST_F(Mixed, ASendGoesToTheNextSessionAndTheLastOnesToTheFirst) {
  const Bytes to_first = begin(Operation::send, 2);
  const Bytes to_second = begin(Operation::send, 0);
  EXPECT_EQ(ledger_.receiver_of(2), 0U);
  EXPECT_FALSE(ledger_.on_message(1, to_first).good);
  const auto verdict = ledger_.on_message(0, to_first);
  ASSERT_TRUE(verdict.good && verdict.ended);
  EXPECT_EQ(verdict.ended->session, 2U);
  EXPECT_TRUE(ledger_.on_message(1, to_second).good);
}

TEST_F(Mixed, APublishEndsWhenTheLastOfItsChannelHasIt) {
  const Bytes event = begin(Operation::publish, 0);
  EXPECT_FALSE(ledger_.on_event(2, event).good) << "of another channel";
  const auto first = ledger_.on_event(1, event);
  EXPECT_TRUE(first.good && !first.ended);
  EXPECT_FALSE(ledger_.on_event(1, event).good) << "twice";
  const auto last = ledger_.on_event(0, event);
  ASSERT_TRUE(last.good && last.ended);
  EXPECT_EQ(last.ended->session, 0U);
  EXPECT_EQ(ledger_.outstanding(), 0U);
}

TEST_F(Mixed, AllOfAChannelMustGetOneOrder) {
  const Bytes of_first = begin(Operation::publish, 0);
  const Bytes of_second = begin(Operation::publish, 1);
  EXPECT_TRUE(ledger_.on_event(0, of_second).good);
  EXPECT_FALSE(ledger_.on_event(1, of_first).good) << "the other has got the other one first";
  EXPECT_TRUE(ledger_.on_event(1, of_second).good);
  EXPECT_TRUE(ledger_.on_event(1, of_first).good);
  EXPECT_TRUE(ledger_.on_event(0, of_first).good);
}

TEST_F(Mixed, APublishersEventsKeepTheirOrder) {
  const Bytes first = begin(Operation::publish, 0);
  const Bytes second = begin(Operation::publish, 0);
  EXPECT_FALSE(ledger_.on_event(1, second).good);
  EXPECT_TRUE(ledger_.on_event(1, first).good);
  EXPECT_TRUE(ledger_.on_event(1, second).good);
}

}  // namespace
}  // namespace corelane::perf
