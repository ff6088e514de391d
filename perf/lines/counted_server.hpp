#pragma once
// Runs a server on two cores, as `corelane` runs it, with a client on a thread of its own that is
// left out of the counting. Cores are counted as threads 0 and 1; the monitor of stalls is among
// the others.

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <thread>

#include "perf/lines/line_counter.hpp"
#include "runtime/runtime.hpp"
#include "runtime/sharded.hpp"
#include "runtime/signals.hpp"

namespace corelane::perf::lines {

inline constexpr runtime::CoreId kCores = 2;

using ClientFunction = std::function<void(const runtime::Address& server)>;

// The main task. Its arguments outlive it.
template <class Server>
runtime::Task<int> serve_counted(const runtime::BlockedSignals* blocked,
                                 const ClientFunction* client) {
  runtime::SignalStream signals(*blocked);
  co_await runtime::on_every_core([] { count_this_thread(runtime::Core::current().id()); });
  Server server;
  co_await server.start();
  // tidy: allow banned_call: the client blocks, and is no part of the server
  std::thread thread([client, address = server.address()] {
    leave_this_thread_out();
    (*client)(address);
    ::kill(::getpid(), SIGUSR1);
  });
  const auto signal = co_await signals.next();
  EXPECT_TRUE(signal) << describe(signal.error());
  thread.join();
  co_await server.stop();
  co_return 0;
}

// A Server has start(), address() and stop(), and is made on core 0. `client` starts and stops the
// counting.
template <class Server>
void run_counted(const ClientFunction& client) {
  const runtime::BlockedSignals blocked{SIGUSR1};
  runtime::RuntimeOptions options;
  options.cores = kCores;
  options.ring.direct_descriptors = 1024;
  // The monitor works as usual, but a core that the machine holds up is no event.
  options.stall_threshold = 10 * runtime::kSecond;
  runtime::Runtime runtime(options);
  const auto code = runtime.run([&] { return serve_counted<Server>(&blocked, &client); });
  ASSERT_TRUE(code) << describe(code.error());
  leave_this_thread_out();
}

}  // namespace corelane::perf::lines
