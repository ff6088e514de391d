#pragma once
// How long a message of DNS says that it holds. Pure: the bytes of a message in, a number out; they
// come from the network and may be anything.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace corelane::net {

struct DnsLife {
  // True: the message has addresses, which hold this long. False: it says that there are none, and
  // that this holds so long (RFC 2308 section 5).
  bool has_addresses = false;
  std::uint32_t seconds = 0;

  friend bool operator==(const DnsLife&, const DnsLife&) = default;
};

// The shortest time to live of the records of the answer, aliases (CNAME) included; without an
// address among them, also that of the SOA record behind them and its minimum. Nothing if the
// message does not say: an error of the server, a denial without a SOA record, a message that is
// cut or malformed.
std::optional<DnsLife> life_of_dns_answer(std::span<const std::byte> message) noexcept;

}  // namespace corelane::net
