#pragma once
// Connecting to the first address that answers (Happy Eyeballs, RFC 8305 sections 4 and 5): the
// addresses are tried in turn, IPv6 and IPv4 alternating, each a little after the one before or as
// soon as one has failed; those that were begun go on. So an address that answers nothing costs
// that little, not the time limit.

#include <functional>
#include <vector>

#include "runtime/address.hpp"
#include "runtime/result.hpp"
#include "runtime/task.hpp"
#include "runtime/types.hpp"

namespace corelane::net {

// RFC 8305 section 5: the recommended Connection Attempt Delay.
inline constexpr runtime::Nanoseconds kAttemptDelay = 250 * runtime::kMillisecond;
// Most addresses of one name; further ones are left out.
inline constexpr std::size_t kAddressesMax = 32;

// The resolver's order, which is by preference, but with the families alternating; each once.
std::vector<runtime::Address> interleave_families(const std::vector<runtime::Address>& addresses);

// Tries one address. Succeeds for one address of a race at most: a later one that gets through must
// end its connection and fail.
using Attempt = std::function<runtime::Task<runtime::Result<void>>(runtime::Address address)>;

// The first success cancels the other attempts; all have ended when this returns. `addresses` is
// not empty. Error: that of the attempt that got furthest (an answer that is not a server's rather
// than a refused connection), among equals the last one's; cancelled.
runtime::Task<runtime::Result<void>> race(std::vector<runtime::Address> addresses, Attempt attempt,
                                          runtime::Nanoseconds delay = kAttemptDelay);

}  // namespace corelane::net
