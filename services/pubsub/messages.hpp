#pragma once
// The messages between the PubSub instances of two cores.
// Requests form no cycle: subscriber -> owner -> subscriber ends there, and so does publisher ->
// owner -> subscribers -> owner -> publisher.

#include "services/pubsub/pubsub.hpp"

namespace corelane::services {

// --- Subscribing and unsubscribing

struct PubSub::SubscriptionAsk {
  const char* name;  // lies in the asking core's LocalChannel, which waits for the answer
  std::uint64_t hash;
  LocalChannelId channel;
  std::uint32_t name_bytes;
  std::uint32_t pending_slot;
  std::uint32_t pending_generation;
  std::uint16_t index;
  bool unsubscribes;
  void deliver(runtime::CoreId from) const { PubSub::local().answer_ask(*this, from); }
};

struct PubSub::SubscriptionAnswer {
  LocalChannelId channel;
  std::uint64_t epoch;
  std::uint64_t offset;
  std::uint32_t pending_slot;
  std::uint32_t pending_generation;
  std::uint16_t index;       // a request names 1,000 channels at most
  protocol::ErrorCode code;  // none: subscribed, or left
  void deliver(runtime::CoreId) const { PubSub::local().finish_ask(*this); }
};

struct PubSub::LeaveMessage {
  runtime::SharedBytes::Loan name;
  std::uint64_t hash;
  LocalChannelId channel;
  std::uint32_t name_bytes;
  void deliver(runtime::CoreId from) const { PubSub::local().owner_leave(*this, from); }
};

// --- Publishing

// At the start of the block of a PublishAsk; name and data come behind it.
struct PubSub::PublishRecord {
  ReplyTo to;
  std::uint32_t name_bytes;
  std::uint64_t hash;
  protocol::Uuid publisher;
  protocol::Uuid trace_id;
  std::uint64_t span_id;
  std::size_t data_bytes;
};

struct PubSub::PublishAsk {
  runtime::SharedBytes::Loan block;
  std::size_t lane_bytes() const noexcept { return block.capacity(); }
  void deliver(runtime::CoreId) const;
};

struct PubSub::RunMessage {
  runtime::SharedBytes::Loan block;
  std::uint64_t bytes;
  LocalChannelId channel;
  std::uint32_t events;
  std::uint32_t acks_slot;  // the count at the owner; kNoAcks: no publish wants an Ack
  std::uint32_t acks_generation;
  static constexpr std::uint32_t kNoAcks = UINT32_MAX;
  std::size_t lane_bytes() const noexcept { return block.capacity(); }
  void deliver(runtime::CoreId owner) const { PubSub::local().fan_out(*this, owner); }
};

struct PubSub::RunCount {
  std::uint32_t acks_slot;
  std::uint32_t acks_generation;
  std::uint32_t subscribers;
  void deliver(runtime::CoreId) const { PubSub::local().count_run(*this); }
};

}  // namespace corelane::services
