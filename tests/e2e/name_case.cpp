// Prints what net::ask_with_time_to_live says of each name on the command line: the name, the error
// of getaddrinfo, the seconds that the answer holds (`-`: not told), the addresses.

#include <fmt/core.h>

#include "net/resolve.hpp"

int main(int count, char** words) {
  for (int i = 1; i < count; ++i) {
    const auto answer = corelane::net::ask_with_time_to_live(words[i]);
    fmt::print("{} {} {}", words[i], answer.error,
               answer.time_to_live
                   ? fmt::format("{}", *answer.time_to_live / corelane::runtime::kSecond)
                   : "-");
    for (const auto& address : answer.addresses) fmt::print(" {}", address.host());
    fmt::print("\n");
  }
}
