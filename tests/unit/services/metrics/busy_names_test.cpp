// Goal: the busiest names are found among very many others, with their rates, and forgotten when
// they are used no more. Method: seconds of uses with known rates.
#include "services/metrics/busy_names.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <string>

namespace corelane {
namespace {

using services::BusyNames;

void use(BusyNames& names, const std::string& name) {
  names.note(name, std::hash<std::string>{}(name));
}

// A second in which "a" is used 8,000 times, "b" 3,200 times and `others` names once each.
void second(BusyNames& names, int& next, int others) {
  for (int i = 0; i < 8000; ++i) {
    use(names, "a");
    if (i % 5 < 2) use(names, "b");
    if (i < others) use(names, "other " + std::to_string(next++));
  }
  names.end_second();
}

TEST(BusyNames, AreThoseUsedMostWithTheirRates) {
  for (const int others : {0, 1000}) {
    BusyNames names;
    int next = 0;
    for (int i = 0; i < 60; ++i) second(names, next, others);
    const auto busiest = names.busiest(2);
    ASSERT_EQ(busiest.size(), 2u);
    EXPECT_EQ(busiest[0].name, "a");
    EXPECT_EQ(busiest[1].name, "b");
    EXPECT_NEAR(static_cast<double>(busiest[0].per_second), 8000, 800) << others;
    EXPECT_NEAR(static_cast<double>(busiest[1].per_second), 3200, 480) << others;
  }
}

TEST(BusyNames, AreForgottenWhenTheyAreUsedNoMore) {
  BusyNames names;
  int next = 0;
  for (int i = 0; i < 20; ++i) second(names, next, 0);
  EXPECT_FALSE(names.busiest(10).empty());
  for (int i = 0; i < 120; ++i) names.end_second();
  EXPECT_TRUE(names.busiest(10).empty());
}

TEST(BusyNames, OfOneHashAreToldApart) {
  BusyNames names;
  for (int i = 0; i < 1600; ++i) {
    names.note("a", 7);
    if (i % 6 == 0) names.note("b", 7);
  }
  names.end_second();
  EXPECT_EQ(names.busiest(10).size(), 2u);
}

}  // namespace
}  // namespace corelane
