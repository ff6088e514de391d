#include "runtime/task.hpp"

#include <cstdio>
#include <cstdlib>
#include <exception>

namespace runtime {

void abort_on_exception() noexcept {
  try {
    throw;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "a coroutine let an exception escape: %s\n", error.what());
  } catch (...) {
    std::fprintf(stderr, "a coroutine let an exception of unknown type escape\n");
  }
  std::abort();
}

}  // namespace runtime
