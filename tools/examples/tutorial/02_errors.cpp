// Errors are values: a Result holds one or the value, RT_TRY passes it up.

#include <corelane/runtime.hpp>

#include <charconv>
#include <cstdio>
#include <string>
#include <string_view>

using namespace corelane;
using runtime::Result;
using runtime::Task;

namespace {

constexpr std::size_t kFileBytesMax = 1024;

Result<int> number_in(std::string_view text) {
  int number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  if (parsed.ec != std::errc{}) return runtime::ErrorCode::invalid_argument;
  return number;
}

Task<Result<int>> number_in_file(std::string path) {
  RT_TRY(const std::string text, co_await runtime::read_file(path, kFileBytesMax));
  RT_TRY(const int number, number_in(text));
  co_return number;
}

Task<int> add_files(int count, char** paths) {
  int sum = 0;
  int failures = 0;
  for (int i = 0; i < count; ++i) {
    const auto number = co_await number_in_file(paths[i]);
    if (number) {
      sum += *number;
    } else {
      std::printf("%s: %s\n", paths[i], describe(number.error()).c_str());
      ++failures;
    }
  }
  std::printf("sum: %d\n", sum);
  co_return failures;
}

}  // namespace

int main(int argc, char** argv) {
  runtime::Runtime cores({.cores = 1});
  return cores.run([&] { return add_files(argc - 1, argv + 1); }).value_or(1);
}
