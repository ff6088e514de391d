// Files: copies one, block by block, without blocking the core.

#include <corelane/runtime.hpp>

#include <fcntl.h>

#include <cstdio>
#include <string>
#include <vector>

using namespace corelane;
using runtime::File;
using runtime::Result;
using runtime::Task;

namespace {

constexpr std::size_t kBlockBytes = 64 * 1024;

Task<Result<std::uint64_t>> copy(std::string from, std::string to) {
  RT_TRY(File source, co_await File::open(from, O_RDONLY));
  RT_TRY(File target, co_await File::open(to, O_WRONLY | O_CREAT | O_TRUNC));
  std::vector<std::byte> block(kBlockBytes);
  std::uint64_t bytes = 0;
  for (;;) {
    RT_TRY(const std::size_t count, co_await source.read_all_at(block, bytes));
    if (count == 0) break;
    const std::span<const std::byte> part = std::span(block).first(count);
    RT_TRY_VOID(co_await target.write_all_at(part, bytes));
    bytes += count;
  }
  RT_TRY_VOID(co_await target.sync());
  RT_TRY_VOID(co_await target.close());  // by hand, to hear of an error
  co_return bytes;                       // the source closes in the background
}

Task<int> run(std::string from, std::string to) {
  const auto bytes = co_await copy(from, to);
  if (!bytes) {
    std::printf("cannot copy %s: %s\n", from.c_str(), describe(bytes.error()).c_str());
    co_return 1;
  }
  std::printf("copied %zu bytes\n", static_cast<std::size_t>(*bytes));
  co_return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  runtime::Runtime cores({.cores = 1});
  return cores.run([&] { return run(argv[1], argv[2]); }).value_or(1);
}
