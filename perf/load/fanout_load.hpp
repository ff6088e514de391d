#pragma once
// The fan-out load: publishers, and subscribers that must each get every message of their channel
// once and in order. Closed loop: a fixed number of publishes is in flight; a publish is done when
// the last counted subscriber has it. Additional readers are not counted: stalled readers read
// nothing, slow readers a fixed number of bytes a second.

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "perf/load/delivery_log.hpp"
#include "perf/load/fanout_protocol.hpp"
#include "perf/load/follower.hpp"
#include "perf/load/load.hpp"
#include "perf/load/published_payloads.hpp"
#include "perf/load/quiet_stream.hpp"
#include "perf/load/time_queue.hpp"

namespace corelane::perf {

struct FanoutOptions {
  std::uint32_t channels = 1;    // subscribers are spread over them, publishes go to each in turn
  std::uint32_t publishers = 1;  // of each channel, in turn
  std::uint32_t stalled = 0;
  std::uint32_t slow = 0;
  std::uint32_t slow_bytes_per_second = 10'000;  // each
  bool one_by_one = false;                       // each publish leaves in a write of its own
};

class FanoutLoad final : public Load {
 public:
  // Makes the protocol of a channel, by the channel's name.
  using MakeProtocol = std::function<std::unique_ptr<FanoutProtocol>(std::string_view channel)>;
  // Settings: connections are counted subscribers, depth is publishes on their way.
  FanoutLoad(LoadContext& context, const FanoutOptions& options, const MakeProtocol& make);
  ~FanoutLoad() override;

  runtime::Task<runtime::Result<void>> open() override;
  void start() override;
  void offer(runtime::Nanoseconds due) override;
  void stop() override { waiting_ = postponed_ = TimeQueue(); }
  std::uint64_t outstanding() const noexcept override { return in_flight() + waiting_.size(); }
  std::string describe_lost() const override;
  void on_interval(bool begins) override;
  runtime::Task<void> background() override;
  std::string own_json() const override;
  std::string own_text() const override;

  static net::NetworkOptions network_options(const Settings& settings,
                                             const FanoutOptions& options);

 private:
  class Reader;
  enum class Kind : std::uint8_t { counted, stalled, slow };
  struct Channel;
  // A publish on its way, by its sequence number.
  struct Slot {
    runtime::Nanoseconds at = 0;
    std::uint32_t remaining = 0;  // counted subscribers that do not have it
  };

  runtime::Task<runtime::Result<void>> open_reader(Kind kind);
  runtime::Task<runtime::Result<void>> open_publisher(Channel* channel);
  runtime::Task<runtime::Result<void>> open_all();
  void greet(const Channel& channel, net::StreamId id, FanoutProtocol::Role role);
  void publish(runtime::Nanoseconds at);
  void write(runtime::Nanoseconds at);
  void write_next();
  std::uint64_t in_flight() const noexcept { return published_ + postponed_.size() - completed_; }
  void on_delivered(Channel& channel, std::uint64_t first, std::uint64_t end,
                    runtime::Nanoseconds now);
  void on_completed(Channel& channel, std::uint64_t count, runtime::Nanoseconds now);
  Slot& slot(std::uint64_t sequence) noexcept { return slots_[sequence & (slots_.size() - 1)]; }

  FanoutOptions options_;
  PublishedPayloads payloads_;
  std::deque<Channel> channels_;
  std::deque<Reader> readers_;  // streams point into it; the counted ones first
  QuietStream::Events publisher_events_;
  bool publishing_ = false;
  std::vector<Slot> slots_;  // a power of two
  TimeQueue waiting_;        // open loop: due, beyond the depth
  TimeQueue postponed_;      // one by one: published with the next turns
  struct NextWrite : runtime::Timer {
    explicit NextWrite(FanoutLoad& owner) noexcept
        : Timer([](runtime::Timer& timer) noexcept {
            static_cast<NextWrite&>(timer).load.write_next();
          }),
          load(owner) {}
    FanoutLoad& load;
  } next_write_{*this};
  std::uint64_t published_ = 0;
  std::uint64_t completed_ = 0;
  std::uint32_t confirmed_ = 0;  // connections that are ready
  std::vector<std::byte> words_;
  std::uint32_t stalled_closed_ = 0;
  std::uint32_t slow_closed_ = 0;
  std::uint64_t published_before_ = 0;  // the interval
  std::uint64_t published_in_ = 0;
  runtime::Nanoseconds interval_began_ = 0;
  double interval_seconds_ = 0;
};

}  // namespace corelane::perf
