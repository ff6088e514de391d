// Goal: options that cannot do what they say are refused before anything starts. Method: run() of
// an app with such options, which returns at once.
#include "services/framework.hpp"

#include <gtest/gtest.h>

#include <utility>

namespace corelane {
namespace {

TEST(Framework, AnOriginThatNoBrowserSendsIsRefused) {
  for (const char* origin : {"https://example.org/", "wss://example.org", "example.org", "null "}) {
    framework::options settings;
    settings.listen = {"127.0.0.1:0"};
    settings.origins = {"https://example.org", origin};
    framework::app app(std::move(settings));
    EXPECT_EQ(app.run(), 2) << origin;
  }
}

}  // namespace
}  // namespace corelane
