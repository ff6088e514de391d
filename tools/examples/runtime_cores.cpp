// The runtime alone (corelane-runtime): a task on each core that sleeps and reads a file, all at
// once, each with a time limit. Prints a line a core, then "done".
//
//   build/release/tools/examples/runtime_cores README.md

#include <corelane/runtime.hpp>

#include <cstdio>
#include <string>
#include <utility>

namespace runtime = corelane::runtime;

namespace {

constexpr std::size_t kFileBytesMax = 1024 * 1024;

// Runs on a core of its own; owns what it uses.
runtime::Task<runtime::Result<std::size_t>> size_of(std::string path) {
  co_await runtime::sleep_for(runtime::kMillisecond);
  const auto text = co_await runtime::read_file(std::move(path), kFileBytesMax);
  if (!text) co_return runtime::Unexpected{text.error()};
  co_return text->size();
}

runtime::Task<void> ask(runtime::CoreId core, std::string path) {
  auto function = [path = std::move(path)] { return size_of(path); };
  const auto size = co_await runtime::with_timeout(10 * runtime::kSecond,
                                                   runtime::submit_to(core, std::move(function)));
  if (size) {
    std::printf("core %u: %zu bytes\n", static_cast<unsigned>(core), *size);
  } else {
    std::printf("core %u: %s\n", static_cast<unsigned>(core),
                runtime::describe(size.error()).c_str());
  }
}

runtime::Task<int> ask_all(std::string path) {
  runtime::TaskGroup group("sizes");
  for (runtime::CoreId core = 0; core < runtime::Core::current().cores(); ++core) {
    group.spawn("size", ask, core, path);
  }
  co_await group.join();
  std::puts("done");
  co_return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "use: %s FILE\n", argv[0]);
    return 2;
  }
  runtime::Runtime cores({.cores = 2});
  const std::string path = argv[1];
  const auto code = cores.run([&path] { return ask_all(path); });
  if (!code) std::fprintf(stderr, "%s\n", runtime::describe(code.error()).c_str());
  return code ? *code : 1;
}
