#pragma once
// A socket address: IPv4, IPv6 or Unix. A value of 128 bytes.

#include <sys/socket.h>
#include <sys/un.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/result.hpp"

namespace corelane::runtime {

class Address {
 public:
  Address() noexcept;

  // "127.0.0.1:8080", "[::1]:8080", "localhost:80" is refused (no name service on a core),
  // "unix:/path" (at most 107 bytes), "unix:@name" for an abstract one. A link-local address takes
  // its zone as in RFC 4007 section 11, the name or number of an interface: "[fe80::1%eth0]:8080".
  // Errors: invalid_argument; ENODEV if this host has no such interface.
  static Result<Address> parse(std::string_view text);
  // Why `text` cannot be listened on or connected to, and what to write, as the end of a sentence
  // that begins with it: what parse() refuses, and addresses that no host can use as they stand.
  // Empty if it can.
  static std::string problem_of(std::string_view text);
  static Address from_raw(const sockaddr* raw, socklen_t bytes) noexcept;

  // The text that parse() reads.
  std::string text() const;
  // The same without the zone, which means something on this host only: what other hosts are told.
  std::string wire_text() const;
  // The host part alone, without the port: the key of per-address limits.
  std::string host() const;
  std::string host_without_zone() const;
  // A link-local address that does not say which link: bind(2) and connect(2) refuse it.
  bool lacks_zone() const noexcept;
  int family() const noexcept { return storage_.ss_family; }
  // 0 for Unix addresses.
  std::uint16_t port() const noexcept;
  void set_port(std::uint16_t port) noexcept;
  const sockaddr* raw() const noexcept { return reinterpret_cast<const sockaddr*>(&storage_); }
  sockaddr* raw() noexcept { return reinterpret_cast<sockaddr*>(&storage_); }
  socklen_t raw_bytes() const noexcept { return bytes_; }
  void set_raw_bytes(socklen_t bytes) noexcept { bytes_ = bytes; }
  static constexpr socklen_t kRawBytesMax = sizeof(sockaddr_storage);

 private:
  std::string with_port(const std::string& host) const;

  sockaddr_storage storage_;
  socklen_t bytes_;
};

}  // namespace corelane::runtime
