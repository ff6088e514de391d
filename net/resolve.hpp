#pragma once
// The addresses of a host name, from the system's resolver: /etc/hosts, DNS with search domains,
// IPv4 and IPv6, and whatever else nsswitch.conf(5) names. It blocks, so it runs on a thread of
// runtime::blocking, for as long as resolv.conf(5) says; the caller can give up before. Answers are
// kept by the core's cache (net/name_cache.hpp), unless a resolver is given.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "runtime/address.hpp"
#include "runtime/result.hpp"
#include "runtime/task.hpp"
#include "runtime/types.hpp"

namespace corelane::net {

struct NameAnswer {
  std::vector<runtime::Address> addresses{};  // port 0
  int error = 0;                              // of getaddrinfo(3), EAI_...
  int system_error = 0;                       // the errno behind EAI_SYSTEM
  // How long the answer holds, if that is known: also an answer that there is no address.
  std::optional<runtime::Nanoseconds> time_to_live{};
};

// Called on a thread that is no core.
using Resolver = std::function<NameAnswer(const std::string& name)>;
// getaddrinfo(3), which does not tell how long an answer holds.
NameAnswer ask_name_service(const std::string& name);
// The same; then DNS is asked for the time to live, with the same search domains: one more question
// for each family that has addresses, which the server before has just answered. No question for
// names that stand in /etc/hosts, "localhost" and names below "local" (RFC 6761, RFC 6762); these
// answers have no time to live.
NameAnswer ask_with_time_to_live(const std::string& name);
// Why an answer has no addresses, as the end of a sentence.
std::string describe(const NameAnswer& answer);

// The address, if `name` is one as a text ("127.0.0.1", "::1"); else invalid_argument.
runtime::Result<runtime::Address> address_in(const std::string& name);

// The addresses of a name, with this port, in the resolver's order of preference (RFC 6724); that
// of an address as a text without asking. Not empty. Without a resolver it is
// NameCache::local().resolve(). Errors: invalid_argument with the EAI_ number as detail: there is
// none; the errno behind EAI_SYSTEM; cancelled; limit_exceeded of the cache.
runtime::Task<runtime::Result<std::vector<runtime::Address>>> resolve(std::string name,
                                                                      std::uint16_t port,
                                                                      Resolver resolver = {});

}  // namespace corelane::net
