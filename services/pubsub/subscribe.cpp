// Subscribing and leaving: the subscriber's core asks the owner, the owner answers with a position.

#include <algorithm>

#include "services/pubsub/messages.hpp"
#include "services/pubsub/pubsub.hpp"

namespace services {

using protocol::ErrorCode;
using protocol::fbs::ChannelResult;
using runtime::CoreId;

// --- The subscriber's side

void PubSub::subscribe(Session& session, const protocol::Uuid& transaction_id,
                       std::span<const std::string_view> channels) {
  const auto made = pending_subscribes_.emplace();
  PendingSubscribe& pending = *made.value;
  pending.from = {.session = session.id(), .transaction_id = transaction_id};
  session.expect_answer();
  pending.left = 1;  // this function's own share, so that it is not answered half way
  pending.results.resize(channels.size());
  for (std::size_t i = 0; i < channels.size(); ++i) {
    const std::string_view name = channels[i];
    ErrorCode code = ErrorCode::none;
    const std::uint64_t name_hash = hash(name);
    const LocalChannel* known = find_local(name, name_hash);
    if (!valid_name(name)) {
      code = ErrorCode::channel_name_invalid;
    } else if (known != nullptr &&
               session.subscriptions().find(known->id.slot, options_.hash_seed) !=
                   Subscriptions::kNone) {
      code = ErrorCode::already_subscribed;
    } else if (session.subscriptions().size() >= options_.subscriptions_per_session_max) {
      code = ErrorCode::too_many_subscriptions;
    } else if (known == nullptr && local_.count() >= options_.channels_max) {
      code = ErrorCode::limit_exceeded;
    }
    if (code != ErrorCode::none) {
      pending.results[i] = ChannelResult(0, 0, code, 0, 0);
      continue;
    }
    LocalChannel& channel = local_channel(name, name_hash);
    ++channel.pending;
    ++pending.left;
    session.subscriptions().add(
        {.channel = channel.id.slot, .position = Subscription::kAsked | made.id.slot},
        options_.hash_seed);
    const SubscribeAsk ask{.name = channel.name.data(),
                           .hash = name_hash,
                           .channel = channel.id,
                           .name_bytes = static_cast<std::uint32_t>(name.size()),
                           .pending_slot = made.id.slot,
                           .pending_generation = made.id.generation,
                           .index = static_cast<std::uint16_t>(i)};
    // A publish on its owner's core takes effect at once, and so must a subscribe: a client that
    // sends one behind the other relies on their order.
    if (const CoreId owner = owner_of(name_hash); owner == core_.id()) {
      owner_subscribe(ask, owner);
    } else {
      core_.lanes().send(owner, ask);
    }
  }
  end_pending(made.id.slot);
}

// The owner's answer: from here on its runs are for this session too, unless it has ended or has
// unsubscribed meanwhile, or the owner has no room for the channel.
void PubSub::finish_subscribe(const SubscribeAnswer& answer) {
  LocalChannel* channel = local_.get(answer.channel.slot, answer.channel.generation);
  PendingSubscribe* pending =
      pending_subscribes_.get(answer.pending_slot, answer.pending_generation);
  RT_ASSERT(channel != nullptr);  // it is kept while an ask is pending
  RT_ASSERT(pending != nullptr);
  RT_ASSERT(channel->pending > 0);
  if (Session* session = Sessions::local().find(pending->from.session)) {
    Subscriptions& own = session->subscriptions();
    const std::uint32_t asked = Subscription::kAsked | answer.pending_slot;
    const std::uint32_t index = own.find(channel->id.slot, options_.hash_seed);
    const bool is_ours = index != Subscriptions::kNone && own[index].position == asked;
    if (is_ours && answer.code != ErrorCode::none) {
      remove(*session, index);
    } else if (is_ours) {
      own[index].position = static_cast<std::uint32_t>(channel->subscribers.size());
      channel->subscribers.push_back({.session = session, .subscription = index});
    }
  }
  --channel->pending;
  leave_if_unused(*channel);
  pending->results[answer.index] = ChannelResult(answer.epoch, answer.offset, answer.code, 0, 0);
  end_pending(answer.pending_slot);
}

void PubSub::end_pending(std::uint32_t slot) {
  PendingSubscribe& pending = pending_subscribes_.at(slot);
  if (--pending.left > 0) return;
  if (Session* session = Sessions::local().find(pending.from.session)) {
    session->send({.transaction_id = pending.from.transaction_id, .timestamp = core_.wall_now()},
                  protocol::SubscribeReplyBody{.results = pending.results});
    session->answered();
  }
  pending_subscribes_.erase(slot);
}

void PubSub::unsubscribe(Session& session, const protocol::Uuid& transaction_id,
                         std::span<const std::string_view> channels) {
  std::vector<ChannelResult> results;
  results.reserve(channels.size());
  for (const std::string_view name : channels) {
    results.push_back(ChannelResult(0, 0, leave(session, name), 0, 0));
  }
  session.send({.transaction_id = transaction_id, .timestamp = core_.wall_now()},
               protocol::UnsubscribeReplyBody{.results = results});
}

ErrorCode PubSub::leave(Session& session, std::string_view name) noexcept {
  if (!valid_name(name)) return ErrorCode::channel_name_invalid;
  const LocalChannel* channel = find_local(name, hash(name));
  if (channel == nullptr) return ErrorCode::not_subscribed;
  const std::uint32_t found = session.subscriptions().find(channel->id.slot, options_.hash_seed);
  if (found == Subscriptions::kNone) return ErrorCode::not_subscribed;
  remove(session, found);
  return ErrorCode::none;
}

void PubSub::leave_all(Session& session) noexcept {
  while (!session.subscriptions().empty()) remove(session, session.subscriptions().size() - 1);
}

// Both lists fill the hole with their last entry, and tell its partner where it is now. What was
// only asked for is in the session's list alone.
void PubSub::remove(Session& session, std::size_t index) noexcept {
  Subscriptions& own = session.subscriptions();
  const Subscription gone = own[index];
  LocalChannel& channel = local_.at(gone.channel);
  std::vector<LocalChannel::Subscriber>& list = channel.subscribers;
  if (!gone.asked()) {
    RT_ASSERT(list[gone.position].session == &session);
    RT_ASSERT(list[gone.position].subscription == index);
    list[gone.position] = list.back();
    list.pop_back();
    if (gone.position < list.size()) {
      const LocalChannel::Subscriber& moved = list[gone.position];
      moved.session->subscriptions()[moved.subscription].position = gone.position;
    }
  }
  own.remove(index, options_.hash_seed);
  if (index < own.size() && !own[index].asked()) {
    local_.at(own[index].channel).subscribers[own[index].position].subscription =
        static_cast<std::uint32_t>(index);
  }
  leave_if_unused(channel);
}

void PubSub::leave_if_unused(LocalChannel& channel) noexcept {
  if (!channel.subscribers.empty() || channel.pending > 0) return;
  // The name goes along as a copy: this channel is gone before the owner reads it.
  const auto name = runtime::SharedBytes::copy(std::as_bytes(std::span{channel.name}));
  core_.lanes().send(owner_of(channel.hash),
                     LeaveMessage{.name = name.lend(),
                                  .hash = channel.hash,
                                  .channel = channel.id,
                                  .name_bytes = static_cast<std::uint32_t>(channel.name.size())});
  drop_local(channel);
}

// --- The owner's side

void PubSub::owner_subscribe(const SubscribeAsk& ask, CoreId from) {
  SubscribeAnswer answer{.channel = ask.channel,
                         .epoch = 0,
                         .offset = 0,
                         .pending_slot = ask.pending_slot,
                         .pending_generation = ask.pending_generation,
                         .index = ask.index,
                         .code = ErrorCode::limit_exceeded};
  if (OwnedChannel* channel = owned_channel({ask.name, ask.name_bytes}, ask.hash)) {
    take_interest(*channel, ask.channel, from);
    answer.epoch = channel->epoch;
    answer.offset = channel->offset;
    answer.code = ErrorCode::none;
  }
  // On our own core runs are handed over at once, not by lane, and so must be what goes before
  // them.
  if (from == core_.id()) {
    finish_subscribe(answer);
  } else {
    core_.lanes().send(from, answer);
  }
}

void PubSub::take_interest(OwnedChannel& channel, LocalChannelId local, CoreId from) {
  // What was ordered before must not reach the new subscriber: it leaves ahead of the answer.
  flush_channel(channel);
  const auto found =
      std::find_if(channel.interested.begin(), channel.interested.end(),
                   [&](const OwnedChannel::Interested& entry) { return entry.core == from; });
  if (found == channel.interested.end()) {
    channel.interested.push_back({.core = from, .channel = local});
  } else {
    found->channel = local;
  }
  channel.last_used = core_.now();
}

void PubSub::owner_leave(const LeaveMessage& leave, CoreId from) {
  const auto name = runtime::SharedBytes::adopt(leave.name);
  OwnedChannel* channel =
      find_owned({reinterpret_cast<const char*>(name.data()), leave.name_bytes}, leave.hash);
  if (channel == nullptr) return;  // it had no room
  flush_channel(*channel);
  std::erase_if(channel->interested, [&](const OwnedChannel::Interested& entry) {
    return entry.core == from && entry.channel == leave.channel;
  });
  channel->last_used = core_.now();
}

}  // namespace services
