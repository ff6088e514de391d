#include "runtime/assert.hpp"

#include <array>
#include <cstdio>
#include <cstdlib>

#include "runtime/core.hpp"
#include "runtime/log.hpp"

namespace corelane::runtime {

void assertion_failed(const char* expression, const char* file, int line) noexcept {
  // The process must end even if nobody reads stderr.
  std::array<char, 1024> text;
  const Core* const core = Core::current_or_null();
  std::array<char, 32> where{};
  if (core != nullptr) std::snprintf(where.data(), where.size(), " (core %u)", core->id());
  const int bytes =
      std::snprintf(text.data(), text.size(), "%.256s:%d: assertion failed: %.600s%s\n", file, line,
                    expression, where.data());
  log_last_words({text.data(), static_cast<std::size_t>(bytes)});
  std::abort();
}

}  // namespace corelane::runtime
