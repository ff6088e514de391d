#include "perf/load/echo_load.hpp"

#include <algorithm>
#include <deque>
#include <memory>
#include <vector>

#include "net/network.hpp"
#include "perf/load/client_stream.hpp"
#include "perf/load/echo_checker.hpp"
#include "perf/load/message_ring.hpp"
#include "runtime/await.hpp"
#include "runtime/runtime.hpp"

namespace perf {
namespace {

using runtime::Nanoseconds;

constexpr Nanoseconds kDrainTimeout = 5 * runtime::kSecond;
constexpr Nanoseconds kDrainStep = 10 * runtime::kMillisecond;

// What all connections of the load share.
struct Shared {
  MessageRing ring;
  std::uint32_t depth;
  bool recording = false;
  bool stopping = false;
  std::uint64_t sent = 0;
  std::uint64_t echoed = 0;
  EchoResult result{};
};

class EchoConnection {
 public:
  EchoConnection(Shared& shared, std::size_t number)
      : shared_(shared),
        next_(number * 7 % shared.ring.messages()),
        checker_(shared.ring, next_),
        sent_at_(shared.depth) {}

  void start(net::Stream& stream) {
    const Nanoseconds now = stream.network().core().ring().now();
    for (Nanoseconds& at : sent_at_) at = now;
    send(stream, shared_.depth);
  }

  static const net::StreamHandler kHandler;

 private:
  static EchoConnection& of(net::Stream& stream) {
    return *static_cast<EchoConnection*>(stream.owner());
  }

  // A piece of the ring, or two where it ends; whatever else this turn adds leaves with it.
  void send(net::Stream& stream, std::size_t count) {
    shared_.sent += count;
    in_flight_ += count;
    while (count > 0) {
      const std::size_t part = std::min(count, shared_.ring.messages() - next_);
      // False only while the stream is closing, which is counted where it ends.
      if (!stream.send_static(shared_.ring.to_send(next_, part))) return;
      next_ = next_ + part == shared_.ring.messages() ? 0 : next_ + part;
      count -= part;
    }
  }

  void take(net::Stream& stream, std::span<const std::byte> bytes) {
    const Nanoseconds now = stream.network().core().ring().now();
    std::size_t messages = 0;
    while (!bytes.empty()) {
      const EchoChecker::Result result = checker_.feed(bytes);
      bytes = bytes.subspan(result.consumed);
      messages += result.messages;
      if (result.found == EchoChecker::Found::wrong || messages > in_flight_) {
        ++shared_.result.wrong;
        failed_ = true;
        return stream.abort();
      }
      if (result.found == EchoChecker::Found::close) return stream.close(0);
      if (result.found == EchoChecker::Found::ping) send_pong(stream, checker_.control_payload());
    }
    count(messages, now);
    if (messages != 0 && !shared_.stopping) send(stream, messages);
  }

  void count(std::size_t messages, Nanoseconds now) noexcept {
    in_flight_ -= messages;
    shared_.echoed += messages;
    for (; messages > 0; --messages) {
      Nanoseconds& at = sent_at_[oldest_];
      if (shared_.recording) shared_.result.latency_ns.record(static_cast<std::uint64_t>(now - at));
      at = now;  // of the message that takes its place
      oldest_ = oldest_ + 1 == shared_.depth ? 0 : oldest_ + 1;
    }
  }

  static void on_data(net::Stream& stream, const net::Received& received) noexcept {
    of(stream).take(stream, received.bytes);
  }
  static void on_end(net::Stream& stream) noexcept { stream.close(0); }
  static void on_closed(net::Stream& stream, runtime::Error) noexcept {
    EchoConnection& self = of(stream);
    if (!self.failed_ && !self.shared_.stopping) ++self.shared_.result.closed;
  }
  static void on_timer(net::Stream&) noexcept {}
  static void on_writable(net::Stream&) noexcept {}

  Shared& shared_;
  std::size_t next_;  // number of the next message to send
  EchoChecker checker_;
  std::vector<Nanoseconds> sent_at_;  // of the messages in flight, a ring
  std::size_t oldest_ = 0;            // of them
  std::size_t in_flight_ = 0;
  bool failed_ = false;
};

const net::StreamHandler EchoConnection::kHandler{"echo",    on_data,  on_end,
                                                  on_closed, on_timer, on_writable};

// Everything that is read at both edges of the measured interval.
struct Edge {
  Nanoseconds at = 0;
  std::uint64_t echoed = 0;
  std::uint64_t client_cpu_ns = 0;
  ProcessSample server{};
};

runtime::Result<Edge> read_edge(const EchoOptions& options, const Shared& shared) {
  Edge edge;
  if (options.server_pid != 0) {
    const auto server = sample_process(options.server_pid);
    if (!server) return runtime::Unexpected{server.error()};
    edge.server = *server;
  }
  edge.at = runtime::Core::current().ring().now();
  edge.echoed = shared.echoed;
  edge.client_cpu_ns = own_cpu_ns();
  return edge;
}

void set_interval(EchoResult& result, const EchoOptions& options, const Edge& from,
                  const Edge& to) {
  result.seconds = static_cast<double>(to.at - from.at) / 1e9;
  result.messages = to.echoed - from.echoed;
  result.client_cpu_share =
      static_cast<double>(to.client_cpu_ns - from.client_cpu_ns) / 1e9 / result.seconds;
  if (options.server_pid == 0) return;
  const ProcessSample& a = from.server;
  const ProcessSample& b = to.server;
  result.server = ProcessSample{
      .cpu_ns = b.cpu_ns - a.cpu_ns,
      .user_ticks = b.user_ticks - a.user_ticks,
      .system_ticks = b.system_ticks - a.system_ticks,
      .voluntary_switches = b.voluntary_switches - a.voluntary_switches,
      .involuntary_switches = b.involuntary_switches - a.involuntary_switches,
  };
}

using Connections = std::deque<EchoConnection>;  // streams point into it

runtime::Task<runtime::Result<void>> measure(const EchoOptions& options, net::Network& network,
                                             Shared& shared, Connections& connections) {
  std::vector<net::StreamId> streams;
  for (std::uint32_t i = 0; i < options.connections; ++i) {
    EchoConnection& connection = connections.emplace_back(shared, i);
    const auto stream =
        co_await open_stream(network, options.target, EchoConnection::kHandler, &connection);
    if (!stream) co_return runtime::Unexpected{stream.error()};
    streams.push_back(*stream);
  }
  for (std::uint32_t i = 0; i < options.connections; ++i) {
    net::Stream* stream = network.find(streams[i]);
    if (stream != nullptr) connections[i].start(*stream);
  }
  co_await runtime::sleep_for(options.warmup);
  const auto from = read_edge(options, shared);
  if (!from) co_return runtime::Unexpected{from.error()};
  shared.recording = true;
  co_await runtime::sleep_for(options.duration);
  shared.recording = false;
  const auto to = read_edge(options, shared);
  if (!to) co_return runtime::Unexpected{to.error()};
  set_interval(shared.result, options, *from, *to);
  shared.stopping = true;
  const Nanoseconds deadline = network.core().now() + kDrainTimeout;
  while (shared.sent != shared.echoed && shared.result.is_valid() &&
         network.core().now() < deadline) {
    co_await runtime::sleep_for(kDrainStep);
  }
  shared.result.messages_total = shared.echoed;
  shared.result.lost = shared.sent - shared.echoed;
  co_return runtime::Result<void>{};
}

runtime::Task<int> run_on_core(const EchoOptions& options, Shared& shared,
                               runtime::Result<void>& outcome) {
  net::NetworkOptions network_options;
  network_options.streams_max = options.connections;
  // Never refused: what is queued is bounded by the depth.
  network_options.queued_bytes_max = 4 * (options.depth + 1) * shared.ring.sent_bytes();
  network_options.direct_descriptors = false;
  net::Network network(network_options);
  Connections connections;
  outcome = co_await measure(options, network, shared, connections);
  shared.stopping = true;
  co_await network.shutdown();
  co_return 0;
}

}  // namespace

runtime::Result<EchoResult> run_echo(const EchoOptions& options) {
  runtime::RuntimeOptions runtime_options;
  if (options.cpu >= 0) runtime_options.cpus = {options.cpu};
  runtime_options.stall_threshold = 0;
  auto shared = std::make_unique<Shared>(
      Shared{.ring = MessageRing(options.target.scheme, options.payload_bytes, options.depth),
             .depth = options.depth});
  runtime::Result<void> outcome;
  runtime::Runtime runtime(runtime_options);
  const auto code = runtime.run([&] { return run_on_core(options, *shared, outcome); });
  if (!code) return runtime::Unexpected{code.error()};
  if (!outcome) return runtime::Unexpected{outcome.error()};
  return shared->result;
}

}  // namespace perf
