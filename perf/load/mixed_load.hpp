#pragma once
// The mixed load: each session follows a script of weighted pings, publishes and sends, with a
// fixed number in flight, and subscribes to a channel that it shares with some other sessions. An
// operation ends with its last effect: a publish when all sessions of its channel have the event.
// All answers and events are validated (perf/load/mixed_ledger.hpp).

#include <array>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "perf/load/conversation.hpp"
#include "perf/load/histogram.hpp"
#include "perf/load/load.hpp"
#include "perf/load/mixed_ledger.hpp"
#include "perf/load/opcode_units.hpp"
#include "perf/load/time_queue.hpp"
#include "protocol/uuid.hpp"
#include "protocol/verify.hpp"
#include "runtime/random.hpp"

namespace corelane::perf {

struct MixedOptions {
  std::array<std::uint32_t, kOperations> weights{70, 20, 10};  // ping, publish, send
  std::uint32_t sessions_each = 10;                            // a channel

  // "ping=70,publish=20,send=10": what is not named is not done. False: no such script.
  bool read_script(const std::string& script);
};

class MixedLoad final : public Load {
 public:
  // Settings: connections is sessions; depth is operations on their way of each.
  MixedLoad(LoadContext& context, const MixedOptions& options);
  ~MixedLoad() override;

  runtime::Task<runtime::Result<void>> open() override;
  void start() override;
  void offer(runtime::Nanoseconds due) override;
  void stop() override;
  std::uint64_t outstanding() const noexcept override { return ledger_.outstanding() + waiting_; }
  std::string describe_lost() const override;
  std::string own_json() const override;
  std::string own_text() const override;

  static net::NetworkOptions network_options(const Settings& settings);

 private:
  class Session;

  runtime::Task<runtime::Result<void>> open_session();
  void begin(Session& session, runtime::Nanoseconds at);
  void on_ended(const MixedLedger::Ended& ended, runtime::Nanoseconds now);
  Operation next_operation();
  template <class Body>
  std::span<const std::byte> words_of(const Body& body);

  MixedOptions options_;
  MixedLedger ledger_;
  runtime::Random script_;
  std::deque<Session> sessions_;  // streams point into it
  std::vector<std::string> channels_;
  std::array<Histogram, kOperations> latency_ns_;  // of the interval
  protocol::AlignedScratch scratch_;
  std::vector<std::byte> frame_;
  std::vector<std::byte> words_;
  std::uint64_t waiting_ = 0;    // open loop: due, beyond the depth
  std::uint32_t confirmed_ = 0;  // sessions that are subscribed
  std::size_t next_offer_ = 0;
};

}  // namespace corelane::perf
