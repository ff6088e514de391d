#include "net/resolve.hpp"

#include <fmt/core.h>
#include <netdb.h>

#include <cerrno>
#include <utility>

#include "runtime/blocking.hpp"

namespace corelane::net {

using runtime::Address;
using runtime::Result;
using runtime::Task;

namespace {

Result<Address> as_address(const std::string& name) {
  auto address = Address::parse(fmt::format("{}:1", name));
  return address ? std::move(address) : Address::parse(fmt::format("[{}]:1", name));
}

}  // namespace

NameAnswer ask_name_service(const std::string& name) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  NameAnswer answer;
  answer.error = getaddrinfo(name.c_str(), nullptr, &hints, &found);
  if (answer.error == EAI_SYSTEM) answer.system_error = errno;
  if (answer.error != 0) return answer;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    answer.addresses.push_back(Address::from_raw(one->ai_addr, one->ai_addrlen));
  }
  freeaddrinfo(found);
  return answer;
}

std::string describe(const NameAnswer& answer) {
  switch (answer.error) {
    case 0:
    case EAI_NONAME:
    case EAI_NODATA:
    case EAI_ADDRFAMILY:
      return "the name is not known";
    case EAI_AGAIN:
      return "the name service gives no answer (see /etc/resolv.conf)";
    case EAI_SYSTEM:
      return "the name service cannot be asked: " +
             runtime::describe(runtime::Error::from_errno(answer.system_error));
    default:
      return fmt::format("the name service gives no address: {}", gai_strerror(answer.error));
  }
}

Task<Result<std::vector<Address>>> resolve(std::string name, std::uint16_t port,
                                           Resolver resolver) {
  std::vector<Address> addresses;
  if (const auto known = as_address(name)) {
    addresses.push_back(*known);
  } else {
    // A function that blocks owns what it uses: it may run on when nobody waits any more.
    auto ask = [asked = std::move(name), by = std::move(resolver)]() -> Result<NameAnswer> {
      return by(asked);
    };
    auto answer = co_await runtime::blocking(std::move(ask));
    if (!answer) co_return runtime::Unexpected{answer.error()};
    if (answer->error == EAI_SYSTEM) {
      co_return runtime::Unexpected{runtime::Error::from_errno(answer->system_error)};
    }
    if (answer->addresses.empty()) {
      const int error = answer->error != 0 ? answer->error : EAI_NONAME;
      co_return runtime::fail(runtime::ErrorCode::invalid_argument, error);
    }
    addresses = std::move(answer->addresses);
  }
  for (Address& address : addresses) address.set_port(port);
  co_return addresses;
}

}  // namespace corelane::net
