#pragma once
// A test's own folder, made and removed by the runtime's own functions, on the ring that the test
// program is linked with.

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/directory.hpp"
#include "tests/support/on_cores.hpp"

namespace corelane::tests {

// The names in a directory, sorted, with slashes in between. (No list of texts to compare with: g++
// 12 takes none in an expression that has a co_await.)
inline runtime::Task<std::string> listing_of(std::string path) {
  std::vector<std::string> names;
  auto entries = runtime::list_directory(std::move(path));
  for (;;) {
    const auto entry = co_await entries.next();
    if (!entry) break;
    EXPECT_TRUE(*entry);
    if (*entry) names.push_back((*entry)->name);
  }
  std::sort(names.begin(), names.end());
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : "/") + name;
  co_return all;
}

inline runtime::Task<void> remove_tree(std::string path) {
  auto entries = runtime::list_directory(path);
  for (;;) {
    const auto entry = co_await entries.next();
    if (!entry || !*entry) break;
    const std::string below = path + "/" + (*entry)->name;
    if ((*entry)->kind == runtime::EntryKind::directory) {
      co_await remove_tree(below);
    } else {
      EXPECT_TRUE(co_await runtime::remove_file(below));
    }
  }
  EXPECT_TRUE(co_await runtime::remove_directory(path));
}

// Runs `body` on a core, with the path of an empty folder that is removed afterwards.
inline void in_own_folder(std::function<runtime::Task<void>(const std::string&)> body) {
  run_on_cores(1, [&body]() -> runtime::Task<void> {
    const auto* const test = ::testing::UnitTest::GetInstance()->current_test_info();
    const std::string folder = ::testing::TempDir() + "corelane_" + test->test_suite_name() + "_" +
                               test->name() + "_" + std::to_string(::getpid());
    const auto made = co_await runtime::make_directory(folder);
    EXPECT_TRUE(made) << (made ? "" : runtime::describe(made.error()));
    if (!made) co_return;
    co_await body(folder);
    co_await remove_tree(folder);
  });
}

}  // namespace corelane::tests
