// Goal: a stream grows into larger buffers when it keeps filling those it has, and back; it rests
// when it is silent and only then; its operations are asked to end once each. Method: the policy by
// itself, its small state spaces walked completely.
#include "net/receive_policy.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace corelane {
namespace {

using net::BufferSize;
using net::ReceiveBuffers;
using net::ReceivePolicy;
using Activity = ReceivePolicy::Activity;
using Wait = ReceivePolicy::Wait;

constexpr ReceiveBuffers kThree{.groups = {0, 1, 2, 1}, .bytes = {100, 1000, 10'000, 1000}};
constexpr ReceiveBuffers kNoMedium{.groups = {0, 0, 1, 0}, .bytes = {100, 100, 10'000, 100}};

// Receives until the size changes; how many that took, 0 if none of 1,000 did.
int receives_until_change(ReceivePolicy& policy, std::uint32_t bytes, const ReceiveBuffers& buffers,
                          bool may_grow_large = true) {
  for (int i = 1; i <= 1000; ++i) {
    policy.begin_receive();
    const std::uint32_t room = buffers.bytes_of(policy.size());
    const bool changes = policy.vote(std::min(bytes, room), room, buffers, may_grow_large);
    policy.end();
    if (changes) return i;
  }
  return 0;
}

TEST(ReceivePolicy, GrowsAfterEightFullBuffersAndShrinksAfterEightThatWereTooLarge) {
  ReceivePolicy policy;
  EXPECT_EQ(receives_until_change(policy, 99, kThree), 0);
  EXPECT_EQ(receives_until_change(policy, 20'000, kThree), 8);
  EXPECT_EQ(policy.next_size(), BufferSize::medium);
  EXPECT_EQ(receives_until_change(policy, 20'000, kThree), 8);
  EXPECT_EQ(policy.next_size(), BufferSize::large);
  EXPECT_EQ(receives_until_change(policy, 20'000, kThree), 0) << "there is nothing larger";
  EXPECT_EQ(receives_until_change(policy, 5'000, kThree), 0) << "no medium one would have done";
  EXPECT_EQ(receives_until_change(policy, 50, kThree), 8);
  EXPECT_EQ(policy.next_size(), BufferSize::medium);
  EXPECT_EQ(receives_until_change(policy, 50, kThree), 8);
  EXPECT_EQ(policy.next_size(), BufferSize::small);
  EXPECT_EQ(receives_until_change(policy, 50, kThree), 0);
}

TEST(ReceivePolicy, ASizeWithoutBuffersIsSkippedAndLargeOnesAreNotWantedInVain) {
  ReceivePolicy policy;
  EXPECT_EQ(receives_until_change(policy, 200, kNoMedium, false), 0);
  EXPECT_EQ(receives_until_change(policy, 200, kNoMedium), 1) << "its votes were there";
  EXPECT_EQ(policy.next_size(), BufferSize::large);
  policy.go_small();
  EXPECT_EQ(policy.next_size(), BufferSize::small);
  EXPECT_EQ(receives_until_change(policy, 200, kNoMedium), 8) << "and are gone";
  EXPECT_EQ(receives_until_change(policy, 50, kNoMedium), 8);
  EXPECT_EQ(kNoMedium.bytes_of(policy.next_size()), 100u);
}

TEST(ReceivePolicy, FullAndEmptyBuffersInTurnChangeNothing) {
  ReceivePolicy policy;
  ASSERT_EQ(receives_until_change(policy, 20'000, kThree), 8);
  policy.begin_receive();
  for (int i = 0; i < 1000; ++i) {
    EXPECT_FALSE(policy.vote(i % 3 == 0 ? 1000 : 50, 1000, kThree, true)) << i;
  }
}

TEST(ReceivePolicy, WhatIsInFlightIsAskedToEndOnceAndDoesNotChangeItsSize) {
  ReceivePolicy policy;
  EXPECT_FALSE(policy.begin_end()) << "nothing is in flight";
  policy.want_buffer();
  EXPECT_FALSE(policy.begin_end());
  EXPECT_FALSE(policy.in_flight());
  policy.leave_buffers();
  EXPECT_EQ(policy.wait(), Wait::nothing);
  policy.begin_receive();
  policy.leave_buffers();
  EXPECT_EQ(policy.wait(), Wait::receive) << "it was in no list";
  EXPECT_TRUE(policy.begin_end());
  EXPECT_FALSE(policy.begin_end());
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(policy.vote(100, 100, kThree, true));
  policy.discard();
  EXPECT_EQ(policy.size(), BufferSize::small) << "that of the receive in flight";
  policy.end();
  policy.begin_poll();
  EXPECT_TRUE(policy.begin_end());
  policy.end();
  policy.begin_receive();
  EXPECT_EQ(policy.size(), BufferSize::discard);
  policy.go_small();
  EXPECT_TRUE(policy.discards()) << "for good";
}

// One that is in `from`, with an operation in flight or not.
ReceivePolicy made(Activity from, bool in_flight) {
  ReceivePolicy policy;
  policy.begin_receive();
  if (from != Activity::busy) policy.look();
  if (from == Activity::resting || from == Activity::stirred) policy.look();
  if (from == Activity::stirred) policy.note_received();
  EXPECT_EQ(policy.activity(), from);
  if (!in_flight) policy.end();
  return policy;
}

TEST(ReceivePolicy, RestsAfterTwoLooksAndIsAwakeAfterTwoReceives) {
  struct Row {
    Activity from;
    Activity received;
    bool is_first;  // since the last look
    Activity looked;
    bool was_active;
    Activity woken;
    Activity put_to_rest;
  };
  using enum Activity;
  const std::vector<Row> rows{
      {busy, busy, false, quiet, true, busy, stirred},
      {quiet, busy, true, resting, false, quiet, resting},
      {resting, stirred, true, resting, false, quiet, resting},
      {stirred, busy, false, resting, true, busy, stirred},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(static_cast<int>(row.from));
    for (const bool in_flight : {true, false}) {
      ReceivePolicy policy = made(row.from, in_flight);
      EXPECT_EQ(policy.note_received(), row.is_first);
      EXPECT_EQ(policy.activity(), row.received);
      policy = made(row.from, in_flight);
      EXPECT_EQ(policy.look(), row.was_active);
      const bool stays = row.from == quiet && !in_flight;
      EXPECT_EQ(policy.activity(), stays ? quiet : row.looked);
      policy = made(row.from, in_flight);
      policy.wake();
      EXPECT_EQ(policy.activity(), row.woken);
      policy = made(row.from, in_flight);
      policy.rest();
      EXPECT_EQ(policy.activity(), row.put_to_rest);
    }
  }
}

}  // namespace
}  // namespace corelane
