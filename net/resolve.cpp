#include "net/resolve.hpp"

#include <fmt/core.h>
#include <netdb.h>
#include <resolv.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <sstream>
#include <utility>

#include "net/dns_answer.hpp"
#include "net/name_cache.hpp"
#include "runtime/blocking.hpp"

namespace corelane::net {

using runtime::Address;
using runtime::Result;
using runtime::Task;

namespace {

constexpr const char* kHostsFile = "/etc/hosts";

// Case does not count in DNS (RFC 4343), which knows ASCII alone.
constexpr char lower(char letter) noexcept {
  return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
}
bool is_same_name(std::string_view one, std::string_view other) noexcept {
  return std::ranges::equal(one, other, {}, lower, lower);
}

// hosts(5): an address, and names up to the end of the line or a `#`.
bool is_in_hosts_file(const std::string& name) {
  std::ifstream file(kHostsFile);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line.substr(0, line.find('#')));
    std::string word;
    words >> word;
    while (words >> word) {
      if (is_same_name(word, name)) return true;
    }
  }
  return false;
}

bool is_below(std::string_view name, std::string_view domain) noexcept {
  if (name.ends_with('.')) name.remove_suffix(1);
  if (name.size() < domain.size()) return false;
  const std::string_view end = name.substr(name.size() - domain.size());
  if (!is_same_name(end, domain)) return false;
  return name.size() == domain.size() || name[name.size() - domain.size() - 1] == '.';
}

// What DNS says about one kind of record of the name.
std::optional<DnsLife> ask_for_life(res_state resolver, const std::string& name, int type) {
  // Zeros behind the answer are no records: the length of one that denies is not told.
  std::array<unsigned char, 8192> message{};
  const int length = res_nsearch(resolver, name.c_str(), C_IN, type, message.data(),
                                 static_cast<int>(message.size()));
  const std::size_t bytes =
      length < 0 ? message.size() : std::min(static_cast<std::size_t>(length), message.size());
  return life_of_dns_answer(std::as_bytes(std::span{message}.first(bytes)));
}

// The shortest life of what was answered, if DNS answered alike.
std::optional<runtime::Nanoseconds> time_to_live_of(const std::string& name,
                                                    const NameAnswer& answer) {
  const auto has = [&answer](int family) {
    return std::any_of(answer.addresses.begin(), answer.addresses.end(),
                       [family](const Address& one) { return one.family() == family; });
  };
  struct __res_state resolver{};
  if (res_ninit(&resolver) != 0) return std::nullopt;
  // The answer is there already: this is worth no long wait.
  resolver.retrans = 1;
  resolver.retry = 1;
  std::optional<runtime::Nanoseconds> shortest;
  for (const auto& [type, is_asked] : {std::pair{ns_t_a, has(AF_INET) || answer.addresses.empty()},
                                       std::pair{ns_t_aaaa, has(AF_INET6)}}) {
    if (!is_asked) continue;
    const auto life = ask_for_life(&resolver, name, type);
    if (!life || life->has_addresses == answer.addresses.empty()) continue;
    const runtime::Nanoseconds here = life->seconds * runtime::kSecond;
    shortest = std::min(shortest.value_or(here), here);
  }
  res_nclose(&resolver);
  return shortest;
}

}  // namespace

Result<Address> address_in(const std::string& name) {
  auto address = Address::parse(fmt::format("{}:1", name));
  return address ? std::move(address) : Address::parse(fmt::format("[{}]:1", name));
}

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

NameAnswer ask_with_time_to_live(const std::string& name) {
  NameAnswer answer = ask_name_service(name);
  const bool is_denied = answer.error == EAI_NONAME || answer.error == EAI_NODATA;
  if (answer.error != 0 && !is_denied) return answer;
  if (is_below(name, "localhost") || is_below(name, "local") || is_in_hosts_file(name)) {
    return answer;
  }
  answer.time_to_live = time_to_live_of(name, answer);
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
  if (!resolver) co_return co_await NameCache::local().resolve(std::move(name), port);
  std::vector<Address> addresses;
  if (const auto known = address_in(name)) {
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
