// Goal: options that cannot do what they say are refused before anything starts, and settings win
// over options. Method: run() of an app that returns at once.
#include "services/framework.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
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

TEST(Framework, AnOptionThatCannotBeUsedIsToldLikeASetting) {
  framework::options settings;
  settings.listen = {"localhost:80"};
  settings.message_bytes_max = 0;
  framework::app app(std::move(settings));
  testing::internal::CaptureStderr();
  EXPECT_EQ(app.run(), 2);
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_NE(
      text.find("framework::options: listen = [\"localhost:80\"]: \"localhost:80\" is a name; "
                "write the address"),
      text.npos)
      << text;
  EXPECT_NE(
      text.find("framework::options: message_bytes_max = 0: is too small; allowed: 1 to 1GiB"),
      text.npos)
      << text;
}

TEST(Framework, FlagsAndVariablesWinOverOptionsAndTheseOverDefaults) {
  framework::options settings;
  settings.cores = 2;
  settings.channels_max = 7;
  settings.handlers_max = 5;
  settings.message_bytes_max = 3'000'000;
  framework::app app(std::move(settings));
  const char* arguments[] = {"my-server", "--cores", "3", "--print-config"};
  ASSERT_EQ(setenv("CORELANE_LIMITS_HANDLERS_MAX", "6", 1), 0);
  testing::internal::CaptureStdout();
  EXPECT_EQ(app.run(4, arguments), 0);
  ASSERT_EQ(unsetenv("CORELANE_LIMITS_HANDLERS_MAX"), 0);
  const std::string text = testing::internal::GetCapturedStdout();
  for (const char* line : {
           "cores = 3  # flag --cores\n",
           "channels_max = 7  # framework::options\n",
           "handlers_max = 6  # environment CORELANE_LIMITS_HANDLERS_MAX\n",
           "message_bytes_max = 3000000  # framework::options\n",
           "outgoing_queue_bytes_max = 3000000  # framework::options\n",
           "handlers_per_session_max = 1000  # default\n",
           "listen = [\"127.0.0.1:8080\"]  # default\n",
       }) {
    EXPECT_NE(text.find(line), text.npos) << line << text;
  }
}

TEST(Framework, HelpBearsTheNameOfTheProgram) {
  framework::app app;
  const char* arguments[] = {"my-server", "--help"};
  testing::internal::CaptureStdout();
  EXPECT_EQ(app.run(2, arguments), 0);
  const std::string text = testing::internal::GetCapturedStdout();
  EXPECT_NE(text.find("Usage: my-server [FLAGS]"), text.npos);
  EXPECT_NE(text.find("--max-handlers"), text.npos);
}

}  // namespace
}  // namespace corelane
