// Goal: what a simulation does not have says so, and leaves nothing behind.
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "runtime/pipe.hpp"
#include "runtime/process.hpp"
#include "runtime/watch.hpp"
#include "tests/support/on_cores.hpp"

namespace corelane {
namespace {

using namespace runtime;

TEST(SimulatedSystem, HasNoPipesNoOtherProgramsAndNoInotify) {
  tests::run_on_cores(1, []() -> Task<void> {
    EXPECT_EQ(make_pipe().error(), Error{ErrorCode::unsupported});
    EXPECT_EQ(Watcher::make().error(), Error{ErrorCode::unsupported});
    Command command{.words = {"true"}};
    const auto process = co_await Process::start(command);
    EXPECT_TRUE(!process && process.error() == Error{ErrorCode::unsupported});
    const auto ended = co_await run_command(std::move(command));
    EXPECT_TRUE(!ended && ended.error() == Error{ErrorCode::unsupported});
    EXPECT_EQ(describe(ended.error()), "not supported in the simulation");
  });
}

}  // namespace
}  // namespace corelane
