#pragma once
// Connecting by name: the addresses of the name (net/resolve.hpp), tried in turn with a small
// delay, IPv6 and IPv4 alternating; the first that answers wins (net/connect_race.hpp, RFC 8305).
//
//   auto stream = co_await with_timeout(5 * kSecond, net::connect("example.org", 80));

#include <cstdint>
#include <string>
#include <vector>

#include "net/connect_race.hpp"
#include "net/resolve.hpp"
#include "net/tcp.hpp"
#include "runtime/duration.hpp"
#include "runtime/result.hpp"
#include "runtime/task.hpp"

namespace corelane::net {

// Errors: those of resolve() and connect_first().
runtime::Task<runtime::Result<TcpStream>> connect(std::string name, std::uint16_t port,
                                                  Resolver resolver = {});

// The first of these addresses that answers; `addresses` is not empty, and those beyond
// kAddressesMax are left out. Errors: that of the last attempt, as TcpStream::connect; cancelled.
runtime::Task<runtime::Result<TcpStream>> connect_first(std::vector<runtime::Address> addresses,
                                                        runtime::Duration delay = kAttemptDelay);

}  // namespace corelane::net
