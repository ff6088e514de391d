#pragma once
// The addresses of a host name, from the system's resolver: /etc/hosts, DNS with search domains,
// IPv4 and IPv6, and whatever else nsswitch.conf(5) names. It blocks, so it runs on a thread of
// runtime::blocking, for as long as resolv.conf(5) says; the caller can give up before.
// getaddrinfo(3) does not tell how long an answer holds, so nothing is cached here: what caches is
// a resolver on the host (systemd-resolved, nscd).

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "runtime/address.hpp"
#include "runtime/result.hpp"
#include "runtime/task.hpp"

namespace corelane::net {

struct NameAnswer {
  std::vector<runtime::Address> addresses{};  // port 0
  int error = 0;                              // of getaddrinfo(3), EAI_...
  int system_error = 0;                       // the errno behind EAI_SYSTEM
};

// Called on a thread that is no core.
using Resolver = std::function<NameAnswer(const std::string& name)>;
// getaddrinfo(3).
NameAnswer ask_name_service(const std::string& name);
// Why an answer has no addresses, as the end of a sentence.
std::string describe(const NameAnswer& answer);

// The addresses of a name, with this port, in the resolver's order of preference (RFC 6724); that
// of an address as a text ("127.0.0.1", "::1") without asking. Not empty. Errors: invalid_argument
// with the EAI_ number as detail: there is none; the errno behind EAI_SYSTEM; cancelled.
runtime::Task<runtime::Result<std::vector<runtime::Address>>> resolve(
    std::string name, std::uint16_t port, Resolver resolver = ask_name_service);

}  // namespace corelane::net
