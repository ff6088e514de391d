// A task that awaits another one.

#include <corelane/runtime.hpp>

#include <cstdio>
#include <string>

using namespace corelane;

namespace {

runtime::Task<std::size_t> letters_of(std::string word) {
  co_await runtime::sleep_for(10 * runtime::kMillisecond);
  co_return word.size();
}

runtime::Task<int> hello() {
  const std::size_t letters = co_await letters_of("hello");
  std::printf("core %u counted %zu letters\n", runtime::Core::current().id(), letters);
  co_return 0;  // the exit code
}

}  // namespace

int main() {
  runtime::Runtime cores({.cores = 1});
  return cores.run(hello).value_or(1);
}
