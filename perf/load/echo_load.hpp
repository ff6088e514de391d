#pragma once
// The echo load, closed loop: every connection keeps `depth` messages on their way, sends the next
// when one has come back, and checks every byte. One core. Latency is counted from the moment a
// message was handed to its connection to the moment its echo was seen.

#include <sys/types.h>

#include <cstdint>
#include <optional>

#include "perf/load/histogram.hpp"
#include "perf/load/process_sample.hpp"
#include "perf/load/target.hpp"
#include "runtime/result.hpp"
#include "runtime/types.hpp"

namespace perf {

struct EchoOptions {
  Target target;
  std::uint32_t connections = 64;
  std::uint32_t depth = 1;
  std::uint32_t payload_bytes = 125;
  runtime::Nanoseconds warmup = runtime::kSecond;
  runtime::Nanoseconds duration = 5 * runtime::kSecond;
  int cpu = -1;          // -1: not pinned
  pid_t server_pid = 0;  // 0: the server's side is not measured
};

struct EchoResult {
  // Of the measured interval.
  double seconds = 0;
  std::uint64_t messages = 0;
  Histogram latency_ns;
  double client_cpu_share = 0;          // of one CPU
  std::optional<ProcessSample> server;  // what it used

  // From start to end.
  std::uint64_t messages_total = 0;
  std::uint64_t wrong = 0;   // connections that brought bytes which nobody sent
  std::uint64_t closed = 0;  // connections that ended by themselves
  std::uint64_t lost = 0;    // messages without an echo at the end

  bool is_valid() const noexcept { return wrong == 0 && closed == 0 && lost == 0; }
  // Then the server could do more than this shows: only its CPU per message counts.
  bool client_is_bottleneck() const noexcept { return client_cpu_share >= 0.95; }
};

// Runs a runtime of its own on the calling thread. Errors: those of open_stream(), of the ring, and
// ESRCH for a server_pid that does not exist.
runtime::Result<EchoResult> run_echo(const EchoOptions& options);

}  // namespace perf
