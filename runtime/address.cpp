#include "runtime/address.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <net/if.h>  // tidy: allow include_direction: of libc
#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <optional>

namespace corelane::runtime {
namespace {

constexpr std::size_t kUnixPathOffset = offsetof(sockaddr_un, sun_path);

Result<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) {
    return fail(ErrorCode::invalid_argument);
  }
  return port;
}

constexpr std::string_view kUnixScheme = "unix:";

bool begins_unix(std::string_view text) noexcept {
  if (text.size() < kUnixScheme.size()) return false;
  return std::equal(kUnixScheme.begin(), kUnixScheme.end(), text.begin(), [](char ours, char c) {
    return ours == (c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c);
  });
}

// True for a scope that more than one interface of a host has, so that the address needs a zone
// (RFC 4007 section 5): link-local unicast, and multicast that stays on an interface or a link.
bool is_of_a_zone(const in6_addr& address) noexcept {
  return IN6_IS_ADDR_LINKLOCAL(&address) || IN6_IS_ADDR_MC_LINKLOCAL(&address) ||
         IN6_IS_ADDR_MC_NODELOCAL(&address);
}

// RFC 4007 section 11.2: the name of an interface or its number.
Result<std::uint32_t> parse_zone(const std::string& text) {
  if (text.empty() || text.find('\0') != text.npos) return fail(ErrorCode::invalid_argument);
  if (const unsigned index = if_nametoindex(text.c_str()); index != 0) return index;
  std::uint32_t index = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, index);
  char name[IF_NAMESIZE];
  const bool is_number = error == std::errc{} && rest == end;
  if (!is_number || if_indextoname(index, name) == nullptr) {
    return Unexpected{Error::from_errno(ENODEV)};
  }
  return index;
}

// The host between the brackets: ADDRESS or ADDRESS%ZONE.
Result<sockaddr_in6> parse_v6(std::string_view text) {
  sockaddr_in6 in6{};
  in6.sin6_family = AF_INET6;
  const std::size_t percent = text.find('%');
  const std::string address(text.substr(0, percent));
  if (address.find('\0') != address.npos ||
      inet_pton(AF_INET6, address.c_str(), &in6.sin6_addr) != 1) {
    return fail(ErrorCode::invalid_argument);
  }
  if (percent == text.npos) return in6;
  if (!is_of_a_zone(in6.sin6_addr)) return fail(ErrorCode::invalid_argument);
  const auto zone = parse_zone(std::string(text.substr(percent + 1)));
  if (!zone) return Unexpected{zone.error()};
  in6.sin6_scope_id = *zone;
  return in6;
}

std::string zone_text(std::uint32_t index) {
  char name[IF_NAMESIZE];
  // The interface may be gone by now.
  return if_indextoname(index, name) != nullptr ? name : fmt::format("{}", index);
}

}  // namespace

Address::Address() noexcept : storage_{}, bytes_(0) {}

Address Address::from_raw(const sockaddr* raw, socklen_t bytes) noexcept {
  RT_ASSERT(bytes <= kRawBytesMax);
  Address address;
  std::memcpy(&address.storage_, raw, bytes);
  address.bytes_ = bytes;
  return address;
}

Result<Address> Address::parse(std::string_view text) {
  Address address;
  if (begins_unix(text)) {
    const std::string_view path = text.substr(kUnixScheme.size());
    sockaddr_un un{};
    if (path.empty() || path.size() >= sizeof un.sun_path || path.find('\0') != path.npos) {
      return fail(ErrorCode::invalid_argument);
    }
    un.sun_family = AF_UNIX;
    std::memcpy(un.sun_path, path.data(), path.size());
    const bool abstract = path.front() == '@';
    if (abstract) un.sun_path[0] = '\0';
    const std::size_t bytes = kUnixPathOffset + path.size() + (abstract ? 0 : 1);
    return from_raw(reinterpret_cast<const sockaddr*>(&un), static_cast<socklen_t>(bytes));
  }
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return fail(ErrorCode::invalid_argument);
  std::string host{text.substr(0, colon)};
  const auto port = parse_port(text.substr(colon + 1));
  if (!port) return Unexpected{port.error()};
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    auto in6 = parse_v6(std::string_view(host).substr(1, host.size() - 2));
    if (!in6) return Unexpected{in6.error()};
    in6->sin6_port = htons(*port);
    return from_raw(reinterpret_cast<const sockaddr*>(&*in6), sizeof *in6);
  }
  sockaddr_in in4{};
  in4.sin_family = AF_INET;
  in4.sin_port = htons(*port);
  if (host.find('\0') != host.npos) return fail(ErrorCode::invalid_argument);
  if (inet_pton(AF_INET, host.c_str(), &in4.sin_addr) != 1) {
    return fail(ErrorCode::invalid_argument);
  }
  return from_raw(reinterpret_cast<const sockaddr*>(&in4), sizeof in4);
}

std::string Address::problem_of(std::string_view text) {
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 0x7f; };
  // It is printed as one line (`listening on ADDRESS`).
  if (std::any_of(text.begin(), text.end(), is_control)) return "has control characters";
  const auto address = parse(text);
  if (!address) {
    const bool is_ours = address.error().code == ErrorCode::system;
    if (is_ours) return "names an interface that this host does not have (ip link shows them)";
    if (begins_unix(text)) {
      return text.size() == kUnixScheme.size() ? "lacks the path behind unix:"
                                               : "has a path of more than 107 bytes";
    }
    if (text.find('%') != text.npos) {
      return "has a % where none belongs: only link-local addresses have a zone, as in "
             "[fe80::1%eth0]:8080";
    }
    return "is no address";
  }
  if (address->lacks_zone()) {
    return "is link-local and needs its interface, as in [fe80::1%eth0]:8080 (ip link shows them)";
  }
  if (address->family() == AF_INET6) {
    const auto* in6 = reinterpret_cast<const sockaddr_in6*>(address->raw());
    if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
      return fmt::format("is an IPv4 address: write {}:{}", address->host().substr(7),
                         address->port());
    }
  }
  return {};
}

std::uint16_t Address::port() const noexcept {
  switch (family()) {
    case AF_INET:
      return ntohs(reinterpret_cast<const sockaddr_in*>(&storage_)->sin_port);
    case AF_INET6:
      return ntohs(reinterpret_cast<const sockaddr_in6*>(&storage_)->sin6_port);
    default:
      return 0;
  }
}

void Address::set_port(std::uint16_t port) noexcept {
  switch (family()) {
    case AF_INET:
      reinterpret_cast<sockaddr_in*>(&storage_)->sin_port = htons(port);
      break;
    case AF_INET6:
      reinterpret_cast<sockaddr_in6*>(&storage_)->sin6_port = htons(port);
      break;
    default:
      break;
  }
}

bool Address::lacks_zone() const noexcept {
  if (family() != AF_INET6) return false;
  const auto* in6 = reinterpret_cast<const sockaddr_in6*>(&storage_);
  return in6->sin6_scope_id == 0 && is_of_a_zone(in6->sin6_addr);
}

std::string Address::host() const {
  std::string text = host_without_zone();
  if (family() != AF_INET6) return text;
  const auto* in6 = reinterpret_cast<const sockaddr_in6*>(&storage_);
  if (in6->sin6_scope_id != 0) text.append("%").append(zone_text(in6->sin6_scope_id));
  return text;
}

std::string Address::host_without_zone() const {
  char text[INET6_ADDRSTRLEN];
  switch (family()) {
    case AF_INET:
      inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(&storage_)->sin_addr, text,
                sizeof text);
      return text;
    case AF_INET6:
      inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(&storage_)->sin6_addr, text,
                sizeof text);
      return text;
    case AF_UNIX: {
      const auto* un = reinterpret_cast<const sockaddr_un*>(&storage_);
      if (bytes_ <= kUnixPathOffset) return "unix:";
      std::string path(un->sun_path, bytes_ - kUnixPathOffset);
      if (path.front() == '\0') {
        path.front() = '@';
      } else {
        path.resize(std::strlen(path.c_str()));
      }
      return fmt::format("unix:{}", path);
    }
    default:
      return "unknown";
  }
}

std::string Address::text() const {
  return with_port(host());
}

std::string Address::wire_text() const {
  return with_port(host_without_zone());
}

std::string Address::with_port(const std::string& host) const {
  switch (family()) {
    case AF_INET:
      return fmt::format("{}:{}", host, port());
    case AF_INET6:
      return fmt::format("[{}]:{}", host, port());
    default:
      return host;
  }
}

}  // namespace corelane::runtime
