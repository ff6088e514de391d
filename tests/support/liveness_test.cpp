// Goal: see liveness_test.py, which runs these one at a time.
#include <gtest/gtest.h>
#include <unistd.h>

namespace corelane {
namespace {

TEST(Liveness, DISABLED_FailsTwice) {
  EXPECT_EQ(1, 2);
  EXPECT_EQ(2, 3);
}

TEST(Liveness, DISABLED_FailsAndHangs) {
  EXPECT_EQ(1, 2);
  for (;;) ::pause();
}

TEST(Liveness, DISABLED_Hangs) {
  for (;;) ::pause();
}

}  // namespace
}  // namespace corelane
