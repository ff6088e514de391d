#include "runtime/assert.hpp"

#include <array>
#include <cstdio>
#include <cstdlib>

#include "runtime/log.hpp"

namespace corelane::runtime {

void assertion_failed(const char* expression, const char* file, int line) noexcept {
  // Nobody may have to read stderr for the process to end.
  std::array<char, 1024> text;
  const int bytes = std::snprintf(text.data(), text.size(), "%.256s:%d: assertion failed: %.600s\n",
                                  file, line, expression);
  log_last_words({text.data(), static_cast<std::size_t>(bytes)});
  std::abort();
}

}  // namespace corelane::runtime
