#pragma once
// Load: one workload as the driver sees it: open the connections, start, and then only callbacks of
// streams until the driver says stop. Lives on the client's core, from before the first connection
// until the network has shut down.

#include <cstdint>
#include <string>

#include "net/network.hpp"
#include "perf/load/meter.hpp"
#include "perf/load/opener.hpp"
#include "perf/load/settings.hpp"
#include "runtime/result.hpp"
#include "runtime/task.hpp"

namespace corelane::perf {

// What a load works with; outlives it.
struct LoadContext {
  const Settings& settings;
  net::Network& network;
  Opener& opener;
  Meter& meter;
  Faults& faults;
  bool stopping = false;  // set by the driver: nothing new is sent, an end is no fault any more
};

class Load {
 public:
  explicit Load(LoadContext& context) noexcept : context_(context) {}
  virtual ~Load() = default;
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  // Opens everything. Errors: those of Opener::open().
  virtual runtime::Task<runtime::Result<void>> open() = 0;
  // Closed loop: sends the first messages. Open loop: nothing, the pacer calls offer().
  virtual void start() = 0;
  // Open loop: sends one message that was due at `due`, or keeps it until the connection may send.
  virtual void offer(runtime::Nanoseconds due) = 0;
  // Forgets what is due but not sent; the context has been told to stop.
  virtual void stop() = 0;
  // Messages (fanout: publishes) offered or sent whose end has not been seen.
  virtual std::uint64_t outstanding() const noexcept = 0;
  // Describes the outstanding messages, for the fault that is noted when they never come.
  virtual std::string describe_lost() const = 0;
  // Called at both edges of the interval, for figures of its own.
  virtual void on_interval(bool /*begins*/) {}
  // Runs beside the load, from start() until it is cancelled.
  virtual runtime::Task<void> background() { co_return; }
  // Figures of this workload alone: members of the JSON object ("\"fanout\":{…},"), and lines.
  virtual std::string own_json() const { return {}; }
  virtual std::string own_text() const { return {}; }

 protected:
  LoadContext& context_;
};

}  // namespace corelane::perf
