// Goal: an address is read and printed alike, with its zone on this host and without it to others;
// what no host can use is refused with what to write. Method: tables; the loopback interface, which
// every host has, stands for a link.

#include "runtime/address.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <net/if.h>  // tidy: allow include_direction: of libc
#include <netinet/in.h>

#include <cerrno>
#include <string>

namespace corelane::runtime {
namespace {

constexpr std::string_view kLoopback = "lo";

unsigned loopback_index() {
  return if_nametoindex(kLoopback.data());
}

std::uint32_t zone_of(const Address& address) {
  return reinterpret_cast<const sockaddr_in6*>(address.raw())->sin6_scope_id;
}

TEST(Address, is_printed_as_it_is_read) {
  for (const std::string text :
       {"127.0.0.1:8080", "0.0.0.0:0", "[::1]:8080", "[2001:db8::1]:65535", "unix:/run/a.sock",
        "unix:@name", "unix:/tmp/a,b", "unix:/tmp/[a]=\"b\"\\c", "unix:-x", "unix:@@",
        "unix:/tmp/a%eth0", "unix:relative"}) {
    const auto address = Address::parse(text);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(address->text(), text);
    EXPECT_EQ(address->wire_text(), text);
    EXPECT_EQ(Address::problem_of(text), "") << text;
  }
}

TEST(Address, has_one_text_whatever_its_spelling) {
  const std::pair<std::string, std::string> rows[] = {
      {"[2001:DB8:0:0::1]:080", "[2001:db8::1]:80"},
      {"UNIX:/Run/A", "unix:/Run/A"},
      {"Unix:@x", "unix:@x"},
  };
  for (const auto& [text, printed] : rows) {
    ASSERT_TRUE(Address::parse(text)) << text;
    EXPECT_EQ(Address::parse(text)->text(), printed);
  }
}

TEST(Address, takes_the_zone_by_name_and_by_number_and_prints_the_name) {
  const unsigned index = loopback_index();
  if (index == 0) GTEST_SKIP() << "no interface lo";
  for (const std::string& zone : {std::string(kLoopback), fmt::format("{}", index)}) {
    const auto address = Address::parse(fmt::format("[fe80::1%{}]:9", zone));
    ASSERT_TRUE(address) << zone;
    EXPECT_EQ(zone_of(*address), index);
    EXPECT_EQ(address->port(), 9);
    EXPECT_EQ(address->text(), "[fe80::1%lo]:9");
    EXPECT_EQ(address->host(), "fe80::1%lo");
    EXPECT_FALSE(address->lacks_zone());
    EXPECT_EQ(address->wire_text(), "[fe80::1]:9") << "the zone means nothing to other hosts";
    EXPECT_EQ(address->host_without_zone(), "fe80::1");
    EXPECT_EQ(Address::problem_of(address->text()), "");
  }
}

TEST(Address, of_an_interface_that_is_gone_is_printed_with_its_number) {
  sockaddr_in6 in6{};
  in6.sin6_family = AF_INET6;
  in6.sin6_addr.s6_addr[0] = 0xfe;
  in6.sin6_addr.s6_addr[1] = 0x80;
  in6.sin6_port = htons(1);
  in6.sin6_scope_id = 0x7fffffff;
  const Address address = Address::from_raw(reinterpret_cast<const sockaddr*>(&in6), sizeof in6);
  EXPECT_EQ(address.text(), "[fe80::%2147483647]:1");
  EXPECT_EQ(address.wire_text(), "[fe80::]:1");
}

TEST(Address, of_an_interface_that_this_host_lacks_is_told_apart) {
  for (const char* text :
       {"[fe80::1%no-such-if]:9", "[fe80::1%2147483647]:9", "[fe80::1%99999999999999999999]:9",
        "[fe80::1%25lo]:9", "[fe80::1%lo%lo]:9", "[ff02::1%no-such-if]:9"}) {
    const auto address = Address::parse(text);
    ASSERT_FALSE(address) << text;
    EXPECT_EQ(address.error(), Error::from_errno(ENODEV)) << text;
    EXPECT_NE(Address::problem_of(text).find("ip link"), std::string::npos) << text;
  }
}

TEST(Address, is_refused_with_what_to_write) {
  const std::string nul("unix:a\0b", 8);
  const std::pair<std::string, std::string> rows[] = {
      {"", "no address"},
      {"127.0.0.1", "no address"},
      {"127.0.0.1:", "no address"},
      {"127.0.0.1:65536", "no address"},
      {"127.1:9", "no address"},
      {"localhost:9", "no address"},
      {"[]:9", "no address"},
      {"[127.0.0.1]:9", "no address"},
      {"::1:9", "no address"},
      {"unix:", "lacks the path"},
      {"unix:/" + std::string(107, 'x'), "107 bytes"},
      {nul, "control"},
      {"unix:/tmp/a\nb", "control"},
      {"[fe80::1]:9", "needs its interface"},
      {"[fe80::1%]:9", "only link-local"},
      {"[::1%lo]:9", "only link-local"},
      {"[2001:db8::1%lo]:9", "only link-local"},
      {"127.0.0.1%lo:9", "only link-local"},
      {"[::ffff:127.0.0.1]:9", "write 127.0.0.1:9"},
  };
  for (const auto& [text, problem] : rows) {
    EXPECT_NE(Address::problem_of(text).find(problem), std::string::npos)
        << text << ": " << Address::problem_of(text);
  }
  EXPECT_FALSE(Address::parse(nul));
}

}  // namespace
}  // namespace corelane::runtime
