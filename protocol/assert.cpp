#include "protocol/assert.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>
#include <cstdlib>

namespace corelane::protocol {

void assertion_failed(const char* expression, const char* file, int line) noexcept {
  std::array<char, 1024> text;
  const int bytes = std::snprintf(text.data(), text.size(), "%.256s:%d: assertion failed: %.600s\n",
                                  file, line, expression);
  // A reader of stderr that does not read must not keep the process alive.
  pollfd standard_error{.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
  if (bytes > 0 && poll(&standard_error, 1, 1000) == 1) {
    [[maybe_unused]] const ssize_t written = write(
        STDERR_FILENO, text.data(), std::min(text.size() - 1, static_cast<std::size_t>(bytes)));
  }
  std::abort();
}

}  // namespace corelane::protocol
