#pragma once
// The two halves of a channel: the state of its owner core (position, interested cores, the run
// that is being laid out) and the state of a core with subscribers (the subscribers). Both belong
// to PubSub.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/message.hpp"
#include "runtime/shared_bytes.hpp"
#include "runtime/types.hpp"
#include "services/pubsub/listener.hpp"
#include "services/reply/reply.hpp"
#include "services/sessions/sessions.hpp"

namespace corelane::services {

// Names a LocalChannel on its core, for the owner; a stale one is ignored.
struct LocalChannelId {
  std::uint32_t slot = 0;
  std::uint32_t generation = 0;
  friend bool operator==(const LocalChannelId&, const LocalChannelId&) = default;
};

// Names a subscriber on its core, across turns.
struct SubscriberName {
  Subscriber::Kind kind = Subscriber::Kind::session;
  std::uint32_t slot = 0;
  std::uint32_t generation = 0;
};

struct LocalChannel {
  template <class Kind>
  struct Entry {
    Kind* subscriber;
    std::uint32_t subscription;  // index in subscriber->subscriptions()
  };

  explicit LocalChannel(std::string_view channel_name, std::uint64_t name_hash)
      : name(channel_name), hash(name_hash) {}

  const std::string name;  // other cores read it while a SubscriptionAsk is on its way
  const std::uint64_t hash;
  LocalChannelId id;
  // A Subscription's position counts in the list of its subscriber's kind.
  std::vector<Entry<Session>> sessions;
  std::vector<Entry<Listener>> listeners;
  bool empty() const noexcept { return sessions.empty() && listeners.empty(); }
  std::uint32_t pending = 0;  // SubscriptionAsks that have not been answered
  // Index of the first session that has not got the run of an unfinished fan-out. No session enters
  // the list until the fan-out has ended (services/sessions/fan_outs.hpp).
  std::uint32_t handed = 0;
};

// A run on its way to this core's subscribers, and the state of its fan-out.
struct RunWalk {
  runtime::SharedBytes block;
  std::size_t bytes = 0;
  LocalChannelId channel;
  std::uint32_t events = 0;
  runtime::CoreId owner = runtime::kNoCore;  // counts the deliveries, under acks_slot
  std::uint32_t acks_slot = 0;
  std::uint32_t acks_generation = 0;
  std::uint32_t tried = 0;
  std::uint32_t delivered = 0;
};

// A publish that wants an Ack: its place in a run, and the receiver of the Ack.
struct AckRequest {
  ReplyTo to;
  std::uint64_t offset;
};

// Acks of one block of a run, until all interested cores have said how many sessions took it.
struct PendingAcks {
  std::uint64_t epoch = 0;
  std::uint32_t cores_left = 0;
  std::uint32_t delivered = 0;
  std::vector<AckRequest> requests;
};

// A SubscribeRequest or UnsubscribeRequest whose owners have not all answered.
struct PendingSubscription {
  SubscriberName subscriber;
  ReplyTo to;
  bool unsubscribes = false;
  std::uint32_t left = 0;
  std::vector<protocol::fbs::ChannelResult> results;
};

struct OwnedChannel {
  struct Interested {
    runtime::CoreId core;
    LocalChannelId channel;
  };

  OwnedChannel(std::string_view channel_name, std::uint64_t name_hash, std::uint64_t first_epoch)
      : name(channel_name),
        hash(name_hash),
        epoch(first_epoch),
        events(channel_name, first_epoch, true) {}

  // Appends the event that has taken `offset` to the run; starts another block if this one is full.
  void append(const protocol::MessageHeader& header, const protocol::Uuid& publisher,
              protocol::Bytes data);
  struct Block {
    runtime::SharedBytes bytes;
    std::size_t used = 0;
    std::uint32_t events = 0;
  };

  const std::string name;
  const std::uint64_t hash;
  const std::uint64_t epoch;
  const protocol::EventTemplate events;
  std::uint64_t offset = 0;  // of the newest event
  std::uint32_t slot = 0;
  bool dirty = false;
  runtime::Nanoseconds last_used = 0;
  std::vector<Interested> interested;  // at most one entry a core
  std::vector<Block> run;              // of this turn; usually one block
  std::size_t run_bytes_before = 0;    // of the last run: the next one is probably as large
  std::vector<AckRequest> acks;        // for events of this run
};

}  // namespace corelane::services
