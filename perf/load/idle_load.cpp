#include "perf/load/idle_load.hpp"

#include <deque>

#include "net/network.hpp"
#include "perf/load/message_ring.hpp"
#include "perf/load/opener.hpp"
#include "perf/load/reply_checker.hpp"
#include "perf/load/wiring.hpp"
#include "runtime/await.hpp"

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
      const ReplyChecker::Result result = checker_.feed(bytes);
      bytes = bytes.subspan(result.consumed);
      if (result.found == ReplyChecker::Found::drained) return;
      if (result.found != ReplyChecker::Found::ping) return stream.close(0);
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
  ReplyChecker checker_;
};

const net::StreamHandler IdleConnection::kHandler{"idle",    on_data,  on_end,
                                                  on_closed, on_timer, on_writable};

using Connections = std::deque<IdleConnection>;  // streams point into it

runtime::Task<runtime::Result<void>> measure(const Settings& settings, runtime::Nanoseconds hold,
                                             net::Network& network, Shared& shared,
                                             Connections& connections) {
  IdleResult& result = shared.result;
  const auto before = sample_memory(settings.server_pid);
  const auto used_before = sample_process(settings.server_pid);
  if (!before || !used_before) co_return runtime::Unexpected{runtime::Error::from_errno(ESRCH)};
  result.before = *before;
  const runtime::Nanoseconds started = network.core().now();
  Opener opener(network, settings);
  for (std::uint32_t i = 0; i < settings.connections; ++i) {
    const auto stream =
        co_await opener.open(IdleConnection::kHandler, &connections.emplace_back(shared));
    if (!stream) co_return runtime::Unexpected{stream.error()};
    ++result.opened;
  }
  result.open_seconds = static_cast<double>(network.core().now() - started) / 1e9;
  const auto used_after = sample_process(settings.server_pid);
  co_await runtime::sleep_for(hold);
  const auto held = sample_memory(settings.server_pid);
  if (!held || !used_after) co_return runtime::Unexpected{runtime::Error::from_errno(ESRCH)};
  result.held = *held;
  result.opening = *used_after - *used_before;
  co_return runtime::Result<void>{};
}

}  // namespace

runtime::Result<IdleResult> run_idle(const Settings& settings, runtime::Nanoseconds hold) {
  net::NetworkOptions options;
  options.streams_max = settings.connections;
  options.direct_descriptors = false;
  Shared shared{.ring = make_echo_ring(settings.target.scheme, 1, 1)};
  Connections connections;
  const auto outcome = run_with_network(
      settings, options,
      [&](net::Network& network) { return measure(settings, hold, network, shared, connections); },
      [&] { shared.stopping = true; });
  if (!outcome) return runtime::Unexpected{outcome.error()};
  return shared.result;
}

}  // namespace perf
