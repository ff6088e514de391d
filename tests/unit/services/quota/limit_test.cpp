// Goal: a limit is read as it is written, in text and on the wire, and what cannot be is refused
// with the reason. Method: tables.
#include <gtest/gtest.h>

#include "services/quota/limit.hpp"

namespace corelane {
namespace {

using protocol::Opcode;
using runtime::kMillisecond;
using runtime::kSecond;
using services::quota::format_limit;
using services::quota::from_wire;
using services::quota::Limit;
using services::quota::parse_limit;
using services::quota::QuotaAction;
using services::quota::QuotaClass;
using services::quota::QuotaMetric;
using services::quota::Rate;
using services::quota::to_wire;

Limit parsed(std::string_view text) {
  const auto limit = parse_limit(text);
  EXPECT_TRUE(limit.value) << text << ": " << limit.problem;
  return limit.value.value_or(Limit{});
}

TEST(Limit, IsReadAsItIsWritten) {
  EXPECT_EQ(parsed("requests 1000/s"),
            (Limit{.rate = {.tokens = 1000, .period = kSecond, .burst = 1000}}));
  EXPECT_EQ(parsed("bytes_in 1MiB/10s burst 4MiB delay for Publish"),
            (Limit{.rate = {.tokens = 1 << 20, .period = 10 * kSecond, .burst = 4 << 20},
                   .metric = QuotaMetric::bytes_in,
                   .action = QuotaAction::delay,
                   .opcode = Opcode::Publish}));
  EXPECT_EQ(parsed("deliveries 5/min warn").metric, QuotaMetric::deliveries);
  EXPECT_EQ(parsed("deliveries 5/min warn").rate.period, 60 * kSecond);
  EXPECT_EQ(parsed("bytes_out 1KiB/250ms terminate").rate.period, 250 * kMillisecond);
  EXPECT_EQ(parsed("requests 7/day reject for 64").opcode, Opcode{64});
  EXPECT_EQ(parsed("requests 7/h for 65535").opcode, Opcode{65535});
  EXPECT_EQ(parsed("requests 7/h for memory").opcode_class, QuotaClass::memory);
  EXPECT_EQ(parsed("requests 7/h for application warn burst 2").rate.burst, 2u);
}

TEST(Limit, IsWrittenAsItIsRead) {
  for (const std::string_view text :
       {"requests 1000/s burst 1000 reject", "bytes_in 1MiB/10s burst 4MiB delay for Publish",
        "deliveries 5/min burst 7 warn", "bytes_out 1KiB/250ms burst 100 terminate",
        "requests 7/day burst 1 reject for 300", "requests 7/h burst 7 reject for control",
        "requests 1/ms burst 1125899906842624 reject for application"}) {
    EXPECT_EQ(format_limit(parsed(text)), text);
  }
}

TEST(Limit, WhatCannotBeIsRefusedWithTheReason) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"", "lacks a metric"},
      {"requests", "lacks a metric, or an amount"},
      {"request 5/s", "does not begin with"},
      {" requests 5/s", "a blank too many"},
      {"requests 5/s ", "a blank too many"},
      {"requests  5/s", "a blank too many"},
      {"requests\t5/s", "lacks a metric"},
      {"requests 5", "no period"},
      {"requests -5/s", "amount \"-5\""},
      {"requests 5/0s", "period"},
      {"requests 5/fortnight", "period"},
      {"requests 5/999ns", "1us to 52 days"},
      {"requests 5/1300h", "1us to 52 days"},
      {"requests 0/s", "1 to 2^50"},
      {"requests 1125899906842625/s", "1 to 2^50"},
      {"requests 5/s burst", "ends behind \"burst\""},
      {"requests 5/s burst x", "burst \"x\""},
      {"requests 5/s burst 0", "1 to 2^50"},
      {"requests 5/s for", "ends behind \"for\""},
      {"requests 5/s for Publsh", "\"Publsh\", which is no opcode"},
      {"requests 5/s for Event", "clients do not send"},
      {"requests 5/s for 130", "clients do not send"},
      {"requests 5/s for 0", "no opcode"},
      {"requests 5/s for 65536", "no opcode"},
      {"requests 5/s shout", "word \"shout\""},
      {"bytes_out 5/s for Publish", "what the server sends"},
      {"deliveries 5/s for memory", "what the server sends"},
  };
  for (const auto& [text, why] : cases) {
    const auto limit = parse_limit(text);
    EXPECT_FALSE(limit.value) << text;
    EXPECT_NE(limit.problem.find(why), std::string::npos) << text << ": " << limit.problem;
    EXPECT_TRUE(parse_limit(limit.suggestion).value);
  }
}

TEST(Limit, CrossesTheWireUnchangedAndIsCheckedBehindIt) {
  const Limit limit = parsed("bytes_in 1MiB/10s burst 4MiB delay for Publish");
  Limit back;
  EXPECT_EQ(from_wire(to_wire(limit), back), "");
  EXPECT_EQ(back, limit);
  const auto with = [](std::uint64_t tokens, std::uint64_t period, std::uint64_t burst, int metric,
                       int action, int opcode_class) {
    Limit read;
    return from_wire(protocol::fbs::QuotaLimit(tokens, period, burst, Opcode::None,
                                               static_cast<QuotaMetric>(metric),
                                               static_cast<QuotaAction>(action),
                                               static_cast<QuotaClass>(opcode_class), 255, 65535),
                     read);
  };
  EXPECT_EQ(with(1, 1'000'000, 0, 3, 3, 0), "");
  EXPECT_EQ(with(1, 1'000'000, 0, 0, 0, 4), "");
  EXPECT_NE(with(1, 1'000'000, 0, 4, 0, 0), "");
  EXPECT_NE(with(1, 1'000'000, 0, 0, 4, 0), "");
  EXPECT_NE(with(1, 1'000'000, 0, 0, 0, 5), "");
  EXPECT_NE(with(0, 1'000'000, 1, 0, 0, 0), "");
  EXPECT_NE(with(UINT64_MAX, 1'000'000, 1, 0, 0, 0), "");
  EXPECT_NE(with(1, 1'000'000, UINT64_MAX, 0, 0, 0), "");
  EXPECT_NE(with(1, 999, 1, 0, 0, 0), "");
  EXPECT_NE(with(1, UINT64_MAX - 4, 1, 0, 0, 0), "");
  EXPECT_NE(with(1, (std::uint64_t{1} << 63) + 1'000'000, 1, 0, 0, 0), "");
}

}  // namespace
}  // namespace corelane
