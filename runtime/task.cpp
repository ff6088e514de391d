#include "runtime/task.hpp"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "runtime/log.hpp"

namespace corelane::runtime {

void abort_on_exception() noexcept {
  std::array<char, 1024> text;
  int bytes = 0;
  try {
    throw;
  } catch (const std::exception& error) {
    bytes = std::snprintf(text.data(), text.size(), "a coroutine let an exception escape: %.900s\n",
                          error.what());
  } catch (...) {
    bytes = std::snprintf(text.data(), text.size(),
                          "a coroutine let an exception of unknown type escape\n");
  }
  log_last_words({text.data(), static_cast<std::size_t>(bytes)});
  std::abort();
}

}  // namespace corelane::runtime
