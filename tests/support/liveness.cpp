// A deadline for each test. When an expectation fails in a coroutine, other coroutines may wait for
// ever. The test would then run until the runner kills the executable minutes later, and the tests
// behind it would not run. So a failed test has a few seconds left, and any other test a time far
// beyond the slowest load. Then the process prints the name of the test and aborts.
//
// Linked into every test program by gtest_dep. A signal and no thread: death tests fork.
// CORELANE_TEST_DEADLINE=SECONDS replaces the longer time.

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "runtime/sanitizer.hpp"

namespace corelane {
namespace {

constexpr unsigned kSlower = RT_ASAN || RT_TSAN ? 4 : 1;
constexpr unsigned kAfterFailure = 5 * kSlower;
constexpr unsigned kDeadline = 300 * kSlower;

// Written before the signal, whose handler may not format.
char last_words[512] = "";

void on_alarm(int) {
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, last_words, std::strlen(last_words));
  std::abort();
}

unsigned deadline() {
  const char* text = std::getenv("CORELANE_TEST_DEADLINE");
  if (text == nullptr) return kDeadline;
  unsigned seconds = 0;
  const auto parsed = std::from_chars(text, text + std::strlen(text), seconds);
  if (parsed.ec == std::errc{} && *parsed.ptr == '\0' && seconds > 0) return seconds;
  std::fprintf(stderr, "CORELANE_TEST_DEADLINE=%s is no number of seconds\n", text);
  std::exit(2);
}

class Liveness : public testing::EmptyTestEventListener {
  void OnTestStart(const testing::TestInfo& test) override {
    test_ = &test;
    has_failed_ = false;
    const unsigned seconds = deadline();
    say("has not ended", seconds);
    std::signal(SIGALRM, on_alarm);
    ::alarm(seconds);
  }
  void OnTestPartResult(const testing::TestPartResult& result) override {
    // Not UnitTest::current_test_info(): gtest holds the lock that it takes.
    if (!result.failed() || has_failed_ || test_ == nullptr) return;
    has_failed_ = true;
    const unsigned seconds = std::min(kAfterFailure, deadline());
    say("has failed, and not ended", seconds);
    ::alarm(seconds);
  }
  void OnTestEnd(const testing::TestInfo&) override {
    ::alarm(0);
    test_ = nullptr;
  }

  void say(const char* what, unsigned seconds) const {
    std::snprintf(last_words, sizeof last_words, "[  FAILED  ] %s.%s %s for %u s: it hangs\n",
                  test_->test_suite_name(), test_->name(), what, seconds);
  }

  const testing::TestInfo* test_ = nullptr;  // that runs
  bool has_failed_ = false;
};

// gtest owns it.
[[maybe_unused]] const bool registered = [] {
  testing::UnitTest::GetInstance()->listeners().Append(new Liveness);
  return true;
}();

}  // namespace
}  // namespace corelane
