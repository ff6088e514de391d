// Goal: the time to live of a message of DNS is that of RFC 2181 and RFC 2308, and no bytes of the
// network make the reader read beyond them. Method: messages by hand; each cut at every byte;
// random changes.
#include "net/dns_answer.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "tests/support/prng.hpp"

namespace corelane {
namespace {

using net::DnsLife;
using net::life_of_dns_answer;

constexpr std::uint16_t kAddress = 1;
constexpr std::uint16_t kAlias = 5;
constexpr std::uint16_t kAuthority = 6;
constexpr std::uint16_t kAddress6 = 28;
constexpr std::string_view kName(
    "\x07"
    "example\x00",
    9);
constexpr std::string_view kPointer("\xc0\x0c", 2);

std::string big_endian(std::uint32_t value, int bytes) {
  std::string text;
  for (int i = bytes; i-- > 0;) text += static_cast<char>(value >> (8 * i) & 0xff);
  return text;
}

std::string record(std::uint16_t type, std::uint32_t seconds, std::string_view data) {
  return std::string(kPointer) + big_endian(type, 2) + big_endian(1, 2) + big_endian(seconds, 4) +
         big_endian(static_cast<std::uint32_t>(data.size()), 2) + std::string(data);
}

std::string soa(std::uint32_t seconds, std::uint32_t minimum) {
  return record(kAuthority, seconds,
                std::string(kName) + std::string(kPointer) + big_endian(2026, 4) +
                    big_endian(7200, 4) + big_endian(3600, 4) + big_endian(86400, 4) +
                    big_endian(minimum, 4));
}

std::string message(std::uint16_t flags, std::uint16_t answers, std::uint16_t authorities,
                    std::string_view records) {
  return big_endian(7, 2) + big_endian(flags, 2) + big_endian(1, 2) + big_endian(answers, 2) +
         big_endian(authorities, 2) + big_endian(0, 2) + std::string(kName) + big_endian(1, 2) +
         big_endian(1, 2) + std::string(records);
}

constexpr std::uint16_t kFound = 0x8180;
constexpr std::uint16_t kNotFound = 0x8183;

std::optional<DnsLife> life(std::string_view text) {
  return life_of_dns_answer(std::as_bytes(std::span{text}));
}

std::optional<DnsLife> addresses_for(std::uint32_t seconds) {
  return DnsLife{.has_addresses = true, .seconds = seconds};
}

std::optional<DnsLife> denied_for(std::uint32_t seconds) {
  return DnsLife{.has_addresses = false, .seconds = seconds};
}

TEST(DnsAnswer, HoldsAsLongAsTheRecordThatEndsFirst) {
  EXPECT_EQ(life(message(kFound, 1, 0, record(kAddress, 300, "abcd"))), addresses_for(300));
  EXPECT_EQ(life(message(kFound, 2, 0, record(kAddress, 300, "abcd") + record(kAddress, 60, "e"))),
            addresses_for(60));
  EXPECT_EQ(life(message(kFound, 2, 0,
                         record(kAlias, 5, kPointer) + record(kAddress6, 300, "0123456789abcdef"))),
            addresses_for(5));
}

TEST(DnsAnswer, OfAddressesDoesNotDependOnTheAuthority) {
  EXPECT_EQ(life(message(kFound, 1, 1, record(kAddress, 300, "abcd") + soa(10, 10))),
            addresses_for(300));
}

TEST(DnsAnswer, ATimeWithTheHighestBitIsNone) {
  EXPECT_EQ(life(message(kFound, 1, 0, record(kAddress, 0x80000000, "abcd"))), addresses_for(0));
  EXPECT_EQ(life(message(kFound, 1, 0, record(kAddress, 0x7fffffff, "abcd"))),
            addresses_for(0x7fffffff));
}

TEST(DnsAnswer, ADenialHoldsAsLongAsItsAuthorityAndTheMinimumOfIt) {
  EXPECT_EQ(life(message(kNotFound, 0, 1, soa(900, 30))), denied_for(30));
  EXPECT_EQ(life(message(kNotFound, 0, 1, soa(20, 86400))), denied_for(20));
  // The name is there, without an address (NODATA); also behind an alias.
  EXPECT_EQ(life(message(kFound, 0, 1, soa(900, 30))), denied_for(30));
  EXPECT_EQ(life(message(kNotFound, 1, 1, record(kAlias, 5, kPointer) + soa(900, 30))),
            denied_for(5));
  // The authority may hold other records as well.
  EXPECT_EQ(life(message(kNotFound, 0, 2, record(46, 1, "signature") + soa(900, 30))),
            denied_for(30));
}

TEST(DnsAnswer, ADenialWithoutAnAuthorityDoesNotSay) {
  EXPECT_EQ(life(message(kNotFound, 0, 0, "")), std::nullopt);
  EXPECT_EQ(life(message(kFound, 0, 0, "")), std::nullopt);
  EXPECT_EQ(life(message(kFound, 1, 0, record(kAlias, 5, kPointer))), std::nullopt);
}

TEST(DnsAnswer, AnErrorAQuestionAndACutMessageDoNotSay) {
  const std::string found = record(kAddress, 300, "abcd");
  EXPECT_EQ(life(message(0x8182, 1, 0, found)), std::nullopt);  // SERVFAIL
  EXPECT_EQ(life(message(0x8185, 1, 0, found)), std::nullopt);  // REFUSED
  EXPECT_EQ(life(message(0x0100, 1, 0, found)), std::nullopt);  // a question
  EXPECT_EQ(life(message(0x8380, 1, 0, found)), std::nullopt);  // cut
  EXPECT_EQ(life(std::string(8192, '\0')), std::nullopt);
}

TEST(DnsAnswer, AMessageThatIsShorterThanItsCountsDoesNotSay) {
  for (const std::string& whole :
       {message(kFound, 2, 0, record(kAlias, 5, kPointer) + record(kAddress, 300, "abcd")),
        message(kNotFound, 0, 1, soa(900, 30))}) {
    ASSERT_TRUE(life(whole));
    for (std::size_t bytes = 0; bytes < whole.size(); ++bytes) {
      // A copy of that size, so that a sanitizer sees what is read behind it.
      const std::vector<char> part(whole.begin(), whole.begin() + static_cast<long>(bytes));
      EXPECT_EQ(life({part.data(), part.size()}), std::nullopt) << bytes;
    }
  }
}

TEST(DnsAnswer, AnyBytesAreReadWithinTheirBounds) {
  const std::string whole = message(
      kFound, 2, 1, record(kAlias, 5, kPointer) + record(kAddress, 300, "abcd") + soa(1, 1));
  tests::Prng random(20'261'130);
  for (int round = 0; round < 20'000; ++round) {
    std::vector<char> bytes(whole.begin(), whole.end());
    for (std::uint64_t i = 0; i <= random.below(4); ++i) {
      bytes[random.below(bytes.size())] = static_cast<char>(random.below(256));
    }
    bytes.resize(random.below(bytes.size() + 1));
    const auto read = life({bytes.data(), bytes.size()});
    if (read) {
      EXPECT_LE(read->seconds, UINT32_MAX);
    }
  }
}

}  // namespace
}  // namespace corelane
