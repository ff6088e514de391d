#include "perf/load/idle_load.hpp"

#include <deque>

#include "net/network.hpp"
#include "perf/load/client_stream.hpp"
#include "perf/load/echo_checker.hpp"
#include "perf/load/message_ring.hpp"
#include "runtime/await.hpp"
#include "runtime/runtime.hpp"

namespace perf {
namespace {

struct Shared {
  MessageRing ring;
  bool stopping = false;
  IdleResult result{};
};

// Answers pings; anything else that comes counts as an end.
class IdleConnection {
 public:
  explicit IdleConnection(Shared& shared) noexcept : shared_(shared), checker_(shared.ring, 0) {}

  static const net::StreamHandler kHandler;

 private:
  static IdleConnection& of(net::Stream& stream) {
    return *static_cast<IdleConnection*>(stream.owner());
  }
  void take(net::Stream& stream, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const EchoChecker::Result result = checker_.feed(bytes);
      bytes = bytes.subspan(result.consumed);
      if (result.found == EchoChecker::Found::drained) return;
      if (result.found != EchoChecker::Found::ping) return stream.close(0);
      send_pong(stream, checker_.control_payload());
    }
  }
  static void on_data(net::Stream& stream, const net::Received& received) noexcept {
    of(stream).take(stream, received.bytes);
  }
  static void on_end(net::Stream& stream) noexcept { stream.close(0); }
  static void on_closed(net::Stream& stream, runtime::Error) noexcept {
    Shared& shared = of(stream).shared_;
    if (!shared.stopping) ++shared.result.closed_early;
  }
  static void on_timer(net::Stream&) noexcept {}
  static void on_writable(net::Stream&) noexcept {}

  Shared& shared_;
  EchoChecker checker_;
};

const net::StreamHandler IdleConnection::kHandler{"idle",    on_data,  on_end,
                                                  on_closed, on_timer, on_writable};

using Connections = std::deque<IdleConnection>;  // streams point into it

runtime::Task<runtime::Result<void>> measure(const IdleOptions& options, net::Network& network,
                                             Shared& shared, Connections& connections) {
  IdleResult& result = shared.result;
  const auto before = sample_memory(options.server_pid);
  const auto used_before = sample_process(options.server_pid);
  if (!before || !used_before) co_return runtime::Unexpected{runtime::Error::from_errno(ESRCH)};
  result.before = *before;
  const runtime::Nanoseconds started = network.core().now();
  for (std::uint32_t i = 0; i < options.connections; ++i) {
    const auto stream = co_await open_stream(network, options.target, IdleConnection::kHandler,
                                             &connections.emplace_back(shared));
    if (!stream) co_return runtime::Unexpected{stream.error()};
    ++result.opened;
  }
  result.open_seconds = static_cast<double>(network.core().now() - started) / 1e9;
  const auto used_after = sample_process(options.server_pid);
  co_await runtime::sleep_for(options.hold);
  const auto held = sample_memory(options.server_pid);
  if (!held || !used_after) co_return runtime::Unexpected{runtime::Error::from_errno(ESRCH)};
  result.held = *held;
  result.opening.cpu_ns = used_after->cpu_ns - used_before->cpu_ns;
  co_return runtime::Result<void>{};
}

runtime::Task<int> run_on_core(const IdleOptions& options, Shared& shared,
                               runtime::Result<void>& outcome) {
  net::NetworkOptions network_options;
  network_options.streams_max = options.connections;
  network_options.direct_descriptors = false;
  net::Network network(network_options);
  Connections connections;
  outcome = co_await measure(options, network, shared, connections);
  shared.stopping = true;
  co_await network.shutdown();
  co_return 0;
}

}  // namespace

runtime::Result<IdleResult> run_idle(const IdleOptions& options) {
  runtime::RuntimeOptions runtime_options;
  if (options.cpu >= 0) runtime_options.cpus = {options.cpu};
  runtime_options.stall_threshold = 0;
  Shared shared{.ring = MessageRing(options.target.scheme, 1, 1)};
  runtime::Result<void> outcome;
  runtime::Runtime runtime(runtime_options);
  const auto code = runtime.run([&] { return run_on_core(options, shared, outcome); });
  if (!code) return runtime::Unexpected{code.error()};
  if (!outcome) return runtime::Unexpected{outcome.error()};
  return shared.result;
}

}  // namespace perf
