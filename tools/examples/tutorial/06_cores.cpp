// Several cores: each owns a part of the data. Other cores ask the owner; nothing is locked.

#include <corelane/runtime.hpp>

#include <cstdio>
#include <map>
#include <string>

using namespace corelane;
using runtime::Core;
using runtime::CoreId;
using runtime::Task;

namespace {

using Counts = std::map<std::string, int>;
runtime::Sharded<Counts> counts;  // one map on each core

CoreId owner_of(const std::string& word) {
  return static_cast<CoreId>(word.size() % Core::current().cores());
}

Task<int> count(std::string word) {
  // Runs over there: it takes copies, and no reference to this frame.
  auto add = [word] { return ++counts.local()[word]; };
  co_return co_await runtime::submit_to(owner_of(word), std::move(add));
}

void print_here() {
  for (const auto& [word, number] : counts.local()) {
    std::printf("core %u: %s %d\n", Core::current().id(), word.c_str(), number);
  }
}

Task<int> count_all(int words, char** word) {
  co_await counts.start();
  for (int i = 0; i < words; ++i) co_await count(word[i]);
  co_await runtime::on_every_core(print_here);
  co_await counts.stop();
  co_return 0;
}

}  // namespace

int main(int argc, char** argv) {
  runtime::Runtime cores({.cores = 2});
  return cores.run([&] { return count_all(argc - 1, argv + 1); }).value_or(1);
}
