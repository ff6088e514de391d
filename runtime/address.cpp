#include "runtime/address.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>

#include <charconv>
#include <cstddef>
#include <cstring>

namespace runtime {
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
  if (text.starts_with("unix:")) {
    const std::string_view path = text.substr(5);
    sockaddr_un un{};
    if (path.empty() || path.size() >= sizeof un.sun_path) {
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
    sockaddr_in6 in6{};
    in6.sin6_family = AF_INET6;
    in6.sin6_port = htons(*port);
    host = host.substr(1, host.size() - 2);
    if (inet_pton(AF_INET6, host.c_str(), &in6.sin6_addr) != 1) {
      return fail(ErrorCode::invalid_argument);
    }
    return from_raw(reinterpret_cast<const sockaddr*>(&in6), sizeof in6);
  }
  sockaddr_in in4{};
  in4.sin_family = AF_INET;
  in4.sin_port = htons(*port);
  if (inet_pton(AF_INET, host.c_str(), &in4.sin_addr) != 1) {
    return fail(ErrorCode::invalid_argument);
  }
  return from_raw(reinterpret_cast<const sockaddr*>(&in4), sizeof in4);
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

std::string Address::host() const {
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
      return "unix:" + path;
    }
    default:
      return "unknown";
  }
}

std::string Address::text() const {
  switch (family()) {
    case AF_INET:
      return fmt::format("{}:{}", host(), port());
    case AF_INET6:
      return fmt::format("[{}]:{}", host(), port());
    default:
      return host();
  }
}

}  // namespace runtime
