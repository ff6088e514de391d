// Goal: Result holds exactly one of value and error, and destroys exactly what it holds.
#include "runtime/result.hpp"

#include <gtest/gtest.h>

#include <memory>

namespace corelane {
namespace {

TEST(Result, CarriesAMoveOnlyValueThroughMoves) {
  runtime::Result<std::unique_ptr<int>> first{std::make_unique<int>(7)};
  runtime::Result<std::unique_ptr<int>> second{std::move(first)};
  ASSERT_TRUE(second);
  EXPECT_EQ(**second, 7);
  second = runtime::fail(runtime::ErrorCode::closed);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, runtime::ErrorCode::closed);
}

TEST(Result, DescribesAnErrnoInWords) {
  EXPECT_EQ(runtime::describe(runtime::Error::from_errno(111)), "Connection refused (errno 111)");
}

}  // namespace
}  // namespace corelane
