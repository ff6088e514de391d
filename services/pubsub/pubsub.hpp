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
//                    <--AckMessage--       <--RunCount---  (only if somebody asked for an Ack)
//   subscriber's core --SubscriptionAsk--> owner --SubscriptionAnswer (epoch, offset)-->
//                     --LeaveMessage--> (its last subscriber of the channel has gone)
//
// Lanes keep order, so after the answer to a subscribe with offset n the first run brings n + 1,
// and ahead of the answer to an unsubscribe with offset m come the runs up to m. Guarantee: per
// channel, one order, each event once to every session that was subscribed when it was ordered;
// nothing is kept for later, and an Ack's level is `accepted`. A session that reads too slowly is
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

class PubSub {
 public:
  // A sweep begins this long after the one before has ended, so an unused channel is kept for 60 to
  // 120 s, and for as long as the sweep takes.
  static constexpr runtime::Nanoseconds kRetention = 60 * runtime::kSecond;
  // A sweep looks at so many channels at a time, and pauses in between: at most about 0.1 ms of a
  // turn, and a second for a million channels.
  static constexpr std::uint32_t kSweepStep = 1024;
  static constexpr runtime::Nanoseconds kSweepPause = runtime::kMillisecond;
  // The hint to who asked for one channel too many: some are forgotten each minute.
  static constexpr std::uint32_t kRetryAfterMs = 10'000;

  explicit PubSub(const PubSubOptions& options);
  ~PubSub();
  PubSub(const PubSub&) = delete;
  PubSub& operator=(const PubSub&) = delete;

  static PubSub& local() noexcept { return services::local<PubSub>(ServiceSlot::pubsub); }

  // Answers with a SubscribeReply when all owners have answered. `channels` are looked at now.
  void subscribe(Session& session, const protocol::Uuid& transaction_id,
                 std::span<const std::string_view> channels);
  // Answers with an UnsubscribeReply when all owners have answered: events that were ordered before
  // come ahead of it, and no event of these channels follows.
  void unsubscribe(Session& session, const protocol::Uuid& transaction_id,
                   std::span<const std::string_view> channels);
  // Answers with an Ack once it was handed over everywhere, if `requires_ack`; with an Error if the
  // name is invalid or would be one channel more than its owner may have. Copies the data.
  void publish(Session& from, const protocol::MessageHeader& header, std::string_view channel,
               protocol::Bytes data, bool requires_ack);
  // The session ends: takes it out of all its channels.
  void leave_all(Session& session) noexcept;

  std::size_t local_channels() const noexcept { return local_.count(); }
  std::size_t owned_channels() const noexcept { return owned_.count(); }

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
  struct AckMessage;
  struct RefusalMessage;
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
  // Of one request; what it refuses itself has its result at once.
  struct PendingId {
    std::uint32_t slot;
    std::uint32_t generation;
  };
  PendingId begin_pending(Session& session, const protocol::Uuid& transaction_id,
                          std::size_t channels, bool unsubscribes);
  void ask_owner(Session& session, LocalChannel& channel, const PendingId& pending,
                 std::size_t index);
  void finish_ask(const SubscriptionAnswer& answer);
  protocol::ErrorCode apply(Session& session, LocalChannel& channel, bool unsubscribes,
                            protocol::ErrorCode answer) noexcept;
  void end_pending(std::uint32_t slot);
  void enter(Session& session, LocalChannel& channel, std::uint32_t index);
  void leave(Session& session, std::uint32_t index) noexcept;
  void forget(Session& session, std::uint32_t index) noexcept;
  void leave_if_unused(LocalChannel& channel) noexcept;
  void answer_ask(const SubscriptionAsk& ask, runtime::CoreId from);
  void take_interest(OwnedChannel& channel, LocalChannelId local, runtime::CoreId from);
  void owner_leave(const LeaveMessage& leave, runtime::CoreId from);

  // The publisher's and owner's side (pubsub/publish.cpp).
  void order(OwnedChannel& channel, const PublishRecord& record, protocol::Bytes data);
  void flush() noexcept;
  void flush_channel(OwnedChannel& channel) noexcept;
  void fan_out(const RunMessage& run, runtime::CoreId owner) noexcept;
  void count_run(const RunCount& count) noexcept;
  void send_ack(const AckMessage& ack) noexcept;
  void send_refusal(const Requester& to, bool is_awaited) noexcept;
  void acknowledge(const OwnedChannel& channel, const AckRequest& request,
                   std::uint32_t delivered) noexcept;
  void sweep() noexcept;

  PubSubOptions options_;
  runtime::Core& core_;
  // Subscriber's side.
  runtime::Slab<LocalChannel> local_;
  NameMap local_by_name_;
  runtime::Slab<PendingSubscription> pending_subscriptions_;
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
