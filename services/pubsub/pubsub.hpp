#pragma once
// Publish/subscribe. One PubSub a core.
//
// A channel has one owner core, by XXH3 of its name with the process' seed. The owner stamps every
// publish with (epoch, offset), offsets growing by 1 from 1, lays the events of a turn out one
// after the other (a run), and sends each interested core one message a run; that core hands the
// run to its own subscribers, one queue entry each. So all subscribers everywhere see one order,
// and N subscribers cost N queue entries, not N copies.
//
//   publisher's core --PublishAsk--> owner --RunMessage--> each interested core --> its sessions
//                    <--Published---       <--RunCount---  (only if somebody waits for it)
//   subscriber's core --SubscriptionAsk--> owner --SubscriptionAnswer (epoch, offset)-->
//                     --LeaveMessage--> (its last subscriber of the channel has gone)
//
// Lanes keep order, so after the answer to a subscribe with offset n the first run brings n + 1,
// and ahead of the answer to an unsubscribe with offset m come the runs up to m. Guarantee: per
// channel, one order, each event once to every session that was subscribed when it was ordered;
// nothing is kept for later, and Published means `accepted`. A session that reads too slowly is
// closed with a code; it never loses an event silently.
//
// The owner keeps a channel's position for at least kRetention after the last subscriber and
// publish, and forgets it at the next sweep; then the channel starts over with a new epoch.

#include <tsl/robin_map.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/message.hpp"
#include "runtime/core.hpp"
#include "runtime/shared_bytes.hpp"
#include "runtime/slab.hpp"
#include "services/local.hpp"
#include "services/metrics/metrics.hpp"
#include "services/pubsub/channel.hpp"
#include "services/sessions/sessions.hpp"

namespace corelane::services {

struct PubSubOptions {
  std::size_t channel_name_bytes_max = 255;
  std::size_t subscriptions_per_session_max = 1000;
  // Channels that this core owns, and channels that its sessions hold, each: what a client makes by
  // naming it must not fill the memory. A channel that is owned takes about 500 bytes and its name,
  // one that is held 200 and 16 for each subscriber.
  std::size_t channels_max = 1'000'000;
  std::uint64_t hash_seed = 0;  // the same on all cores of a process, different in each process
};

// A publish: by a session, a coroutine or the server itself.
struct Publication {
  std::string_view channel;
  protocol::Bytes data;
  protocol::Uuid publisher{};  // as subscribers see it; nil: the server
  protocol::Uuid trace_id{};   // subscribers get both
  std::uint64_t span_id = 0;
};

// Completion of a publish. Without an error: its place in the channel's order, and how many
// subscribers it was queued to, on all cores. Errors: channel_name_invalid; limit_exceeded, if its
// channel would be one too many for its owner.
struct Published {
  std::uint64_t epoch = 0;
  std::uint64_t offset = 0;
  std::uint32_t delivered = 0;
  protocol::ErrorCode code = protocol::ErrorCode::none;
};
void complete(const ReplyTo& to, const Published& done) noexcept;

// Completion of a subscribe or unsubscribe: for each channel, in the order of the request, its
// position, or why it was refused.
struct SubscriptionsChanged {
  bool unsubscribed = false;
  std::vector<protocol::fbs::ChannelResult> results;
};
void complete(const ReplyTo& to, SubscriptionsChanged&& done) noexcept;

class PubSub : public Service {
 public:
  // A sweep begins this long after the one before has ended, so an unused channel is kept for 60 to
  // 120 s, and for as long as the sweep takes.
  static constexpr runtime::Nanoseconds kRetention = 60 * runtime::kSecond;
  // Channels that a sweep looks at before it pauses: at most about 0.1 ms of a turn, and a second
  // for a million channels.
  static constexpr std::uint32_t kSweepStep = 1024;
  static constexpr runtime::Nanoseconds kSweepPause = runtime::kMillisecond;
  // Most channels that one subscribe or unsubscribe may name.
  static constexpr std::size_t kChannelsPerCallMax = 65'536;
  // The retry hint when channels_max is reached: unused channels are dropped each minute.
  static constexpr std::uint32_t kRetryAfterMs = 10'000;

  explicit PubSub(const PubSubOptions& options);
  ~PubSub() override;

  static PubSub& local() noexcept { return services::local<PubSub>(ServiceSlot::pubsub); }
  static std::span<const OpcodeRow> opcodes() noexcept;
  static std::span<const config::Row<PubSubOptions>> settings() noexcept;
  static std::span<const MetricRow> metrics() noexcept;

  // Completes with SubscriptionsChanged when all owners have answered. `channels` are looked at
  // now. At most 65,536 channels.
  void subscribe(Subscriber& subscriber, std::span<const std::string_view> channels,
                 const ReplyTo& to);
  // The same: events that were ordered before come ahead of the completion, and no event of these
  // channels follows.
  void unsubscribe(Subscriber& subscriber, std::span<const std::string_view> channels,
                   const ReplyTo& to);
  // Completes with Published once it was handed over everywhere. Copies the data.
  void publish(const Publication& what, const ReplyTo& to);
  // The subscriber ends: takes it out of all its channels.
  void leave_all(Subscriber& subscriber) noexcept;
  void session_ended(Session& session) noexcept override { leave_all(session); }

  const PubSubOptions& options() const noexcept { return options_; }

  std::size_t local_channels() const noexcept { return local_.count(); }
  std::size_t owned_channels() const noexcept { return owned_.count(); }
  // Of this core's sessions and listeners.
  std::size_t subscriptions() const noexcept { return subscriptions_; }

  struct Counters {
    std::uint64_t published = 0;      // ordered here
    std::uint64_t runs = 0;           // made here
    std::uint64_t runs_received = 0;  // handed to this core's subscribers
    std::uint64_t delivered = 0;      // events queued to sessions here
    std::uint64_t not_delivered = 0;  // events for sessions that were closing
  };
  const Counters& counters() const noexcept { return counters_; }

 private:
  struct PublishRecord;
  struct PublishAsk;
  struct RunMessage;
  struct RunCount;
  struct SubscriptionAsk;
  struct SubscriptionAnswer;
  struct LeaveMessage;
  struct SweepTimer : runtime::Timer {
    explicit SweepTimer(PubSub& owner) noexcept;
    PubSub& pubsub;
  };

  // Slots by name. The keys lie in the channels, which do not move.
  struct SeededHash {
    std::uint64_t seed;
    std::size_t operator()(std::string_view name) const noexcept;
  };
  using NameMap = tsl::robin_map<std::string_view, std::uint32_t, SeededHash>;

  // Names and their channels, on the subscriber's side and on the owner's.
  std::uint64_t hash(std::string_view name) const noexcept;
  runtime::CoreId owner_of(std::uint64_t hash) const noexcept;
  bool valid_name(std::string_view name) const noexcept;
  LocalChannel& local_channel(std::string_view name, std::uint64_t hash);
  LocalChannel* find_local(std::string_view name, std::uint64_t hash) noexcept;
  OwnedChannel* find_owned(std::string_view name, std::uint64_t hash) noexcept;
  // Makes it if it is not there; nullptr if that would be one too many.
  OwnedChannel* owned_channel(std::string_view name, std::uint64_t hash);
  void drop_local(LocalChannel& channel) noexcept;

  // The subscriber's side (pubsub/subscribe.cpp).
  friend class Listener;
  static SubscriberName name_of(Subscriber& subscriber) noexcept;
  Subscriber* find(const SubscriberName& name) noexcept;  // null: it has ended
  // The pending state of one request. Results that need no owner are set at once.
  struct PendingId {
    std::uint32_t slot;
    std::uint32_t generation;
  };
  PendingId begin_pending(Subscriber& subscriber, const ReplyTo& to, std::size_t channels,
                          bool unsubscribes);
  void ask_owner(Subscriber& subscriber, LocalChannel& channel, const PendingId& pending,
                 std::size_t index);
  void finish_ask(const SubscriptionAnswer& answer);
  protocol::ErrorCode apply(Subscriber& subscriber, LocalChannel& channel, bool unsubscribes,
                            protocol::ErrorCode answer) noexcept;
  void end_pending(std::uint32_t slot);
  void enter(Subscriber& subscriber, LocalChannel& channel, std::uint32_t index);
  void leave(Subscriber& subscriber, std::uint32_t index) noexcept;
  void forget(Subscriber& subscriber, std::uint32_t index) noexcept;
  void leave_if_unused(LocalChannel& channel) noexcept;
  void answer_ask(const SubscriptionAsk& ask, runtime::CoreId from);
  void take_interest(OwnedChannel& channel, LocalChannelId local, runtime::CoreId from);
  void owner_leave(const LeaveMessage& leave, runtime::CoreId from);

  // The publisher's and owner's side (pubsub/publish.cpp).
  void order(OwnedChannel& channel, const PublishRecord& record, protocol::Bytes data);
  void flush() noexcept;
  void flush_channel(OwnedChannel& channel) noexcept;
  void fan_out(const RunMessage& run, runtime::CoreId owner) noexcept;
  bool walk_on(RunWalk& walk) noexcept;  // true: the run has reached all subscribers
  void count_run(const RunCount& count) noexcept;
  void sweep() noexcept;

  PubSubOptions options_;
  runtime::Core& core_;
  FanOuts& fan_outs_;
  Metrics& metrics_;
  // Subscriber's side.
  RunWalk walk_;  // the fan-out that goes on in the next turn
  std::size_t subscriptions_ = 0;
  runtime::Slab<LocalChannel> local_;
  NameMap local_by_name_;
  runtime::Slab<PendingSubscription> pending_subscriptions_;
  runtime::Slab<Listener*> listeners_;
  // Owner's side.
  runtime::Slab<OwnedChannel> owned_;
  NameMap owned_by_name_;
  runtime::Slab<PendingAcks> pending_acks_;
  std::uint32_t sweep_at_ = 0;        // the slot that the sweep looks at next
  std::vector<std::uint32_t> dirty_;  // owned channels with a run to send
  SweepTimer sweep_timer_;
  runtime::Core::FlushHook flush_hook_;
  Counters counters_;
};

}  // namespace corelane::services
