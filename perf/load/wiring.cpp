#include "perf/load/wiring.hpp"

#include "runtime/runtime.hpp"

namespace corelane::perf {
namespace {

runtime::Task<int> run_on_core(const net::NetworkOptions& options, const NetworkBody& body,
                               const std::function<void()>& before_shutdown,
                               runtime::Result<void>& outcome) {
  net::Network network(options);
  outcome = co_await body(network);
  before_shutdown();
  co_await network.shutdown();
  co_return 0;
}

}  // namespace

runtime::Result<void> run_with_network(const Settings& settings, const net::NetworkOptions& network,
                                       const NetworkBody& body,
                                       const std::function<void()>& before_shutdown) {
  runtime::RuntimeOptions options;
  if (settings.cpu >= 0) options.cpus = {settings.cpu};
  options.stall_threshold = 0;
  runtime::Result<void> outcome;
  runtime::Runtime runtime(options);
  const auto code =
      runtime.run([&] { return run_on_core(network, body, before_shutdown, outcome); });
  if (!code) return runtime::Unexpected{code.error()};
  return outcome;
}

}  // namespace corelane::perf
