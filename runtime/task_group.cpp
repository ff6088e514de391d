#include "runtime/task_group.hpp"

#include <array>
#include <cstdio>
#include <cstdlib>

#include "runtime/log.hpp"

namespace corelane::runtime {

void detail::group_left(const char* name, std::size_t running) noexcept {
  std::array<char, 384> text;
  const int bytes = std::snprintf(
      text.data(), text.size(),
      "the TaskGroup \"%.64s\" is left while %zu of its tasks run, which may use what "
      "is destroyed now: join it on every way out, or use in_group\n",
      name, running);
  log_last_words({text.data(), static_cast<std::size_t>(bytes)});
  std::abort();
}

}  // namespace corelane::runtime
