// Subscribing and unsubscribing: the subscriber's core asks the owner, the owner answers with a
// position, and the answer takes effect where it stands among the channel's runs.

#include <algorithm>

#include "services/pubsub/messages.hpp"
#include "services/pubsub/pubsub.hpp"
#include "services/sessions/sessions.hpp"

namespace corelane::services {

using protocol::ErrorCode;
using protocol::fbs::ChannelResult;
using runtime::CoreId;

namespace {

// Logs the refusal of one channel in a SubscribeReply.
[[gnu::cold]] void log_refused_channel(Subscriber& subscriber, ErrorCode code) {
  if (subscriber.kind() != Subscriber::Kind::session) return;
  net::Stream& stream = static_cast<Session&>(subscriber).stream();
  if (code == ErrorCode::too_many_subscriptions) {
    log_error(stream, code, "limits.subscriptions_per_session_max");
  } else if (code == ErrorCode::limit_exceeded) {
    log_error(stream, code, "limits.channels_max");
  }
}

}  // namespace

// --- The subscriber's side

Listener::Listener() : Subscriber(Kind::listener) {
  const auto made = PubSub::local().listeners_.emplace(this);
  slot_ = made.id.slot;
  generation_ = made.id.generation;
}

Listener::~Listener() {
  PubSub& pubsub = PubSub::local();
  pubsub.leave_all(*this);
  pubsub.listeners_.erase(slot_);
}

SubscriberName PubSub::name_of(Subscriber& subscriber) noexcept {
  if (subscriber.kind() == Subscriber::Kind::session) {
    const SessionId id = static_cast<Session&>(subscriber).id();
    return {.kind = Subscriber::Kind::session, .slot = id.slot, .generation = id.generation};
  }
  const auto& listener = static_cast<Listener&>(subscriber);
  return {.kind = Subscriber::Kind::listener,
          .slot = listener.slot_,
          .generation = listener.generation_};
}

Subscriber* PubSub::find(const SubscriberName& name) noexcept {
  if (name.kind == Subscriber::Kind::session) {
    return Sessions::local().find(
        {.core = core_.id(), .slot = name.slot, .generation = name.generation});
  }
  Listener** listener = listeners_.get(name.slot, name.generation);
  return listener != nullptr ? *listener : nullptr;
}

PubSub::PendingId PubSub::begin_pending(Subscriber& subscriber, const ReplyTo& to,
                                        std::size_t channels, bool unsubscribes) {
  const auto made = pending_subscriptions_.emplace();
  PendingSubscription& pending = *made.value;
  pending.subscriber = name_of(subscriber);
  pending.to = to;
  pending.unsubscribes = unsubscribes;
  pending.left = 1;  // the request's own share, so that it is not answered half way
  pending.results.resize(channels);
  return {.slot = made.id.slot, .generation = made.id.generation};
}

void PubSub::subscribe(Subscriber& subscriber, std::span<const std::string_view> channels,
                       const ReplyTo& to) {
  RT_ASSERT(channels.size() <= kChannelsPerCallMax);
  const PendingId pending = begin_pending(subscriber, to, channels.size(), false);
  Subscriptions& own = subscriber.subscriptions();
  std::size_t held = own.count_wanted();
  for (std::size_t i = 0; i < channels.size(); ++i) {
    const std::string_view name = channels[i];
    ErrorCode code = ErrorCode::none;
    const std::uint64_t name_hash = hash(name);
    const LocalChannel* known = find_local(name, name_hash);
    std::uint32_t index = Subscriptions::kNone;
    if (known != nullptr) index = own.find(known->id.slot, options_.hash_seed);
    if (!valid_name(name)) {
      code = ErrorCode::channel_name_invalid;
    } else if (index != Subscriptions::kNone && own[index].wanted) {
      code = ErrorCode::already_subscribed;
    } else if (held >= options_.subscriptions_per_session_max) {
      code = ErrorCode::too_many_subscriptions;
    } else if (known == nullptr && local_.count() >= options_.channels_max) {
      code = ErrorCode::limit_exceeded;
    }
    if (code != ErrorCode::none) {
      log_refused_channel(subscriber, code);
      pending_subscriptions_.at(pending.slot).results[i] = ChannelResult(0, 0, code, 0, 0);
      continue;
    }
    LocalChannel& channel = local_channel(name, name_hash);
    ++held;
    if (index == Subscriptions::kNone) {
      own.add({.channel = channel.id.slot}, options_.hash_seed);
    } else {
      own[index].wanted = true;
    }
    ask_owner(subscriber, channel, pending, i);
  }
  end_pending(pending.slot);
}

void PubSub::unsubscribe(Subscriber& subscriber, std::span<const std::string_view> channels,
                         const ReplyTo& to) {
  RT_ASSERT(channels.size() <= kChannelsPerCallMax);
  const PendingId pending = begin_pending(subscriber, to, channels.size(), true);
  Subscriptions& own = subscriber.subscriptions();
  for (std::size_t i = 0; i < channels.size(); ++i) {
    const std::string_view name = channels[i];
    ErrorCode code = ErrorCode::none;
    LocalChannel* channel = find_local(name, hash(name));
    std::uint32_t index = Subscriptions::kNone;
    if (channel != nullptr) index = own.find(channel->id.slot, options_.hash_seed);
    if (!valid_name(name)) {
      code = ErrorCode::channel_name_invalid;
    } else if (index == Subscriptions::kNone || !own[index].wanted) {
      code = ErrorCode::not_subscribed;
    }
    if (code != ErrorCode::none) {
      pending_subscriptions_.at(pending.slot).results[i] = ChannelResult(0, 0, code, 0, 0);
      continue;
    }
    own[index].wanted = false;
    ask_owner(subscriber, *channel, pending, i);
  }
  end_pending(pending.slot);
}

// The owner decides when both take effect: between the events that it orders before and behind.
void PubSub::ask_owner(Subscriber& subscriber, LocalChannel& channel, const PendingId& pending,
                       std::size_t index) {
  Subscriptions& own = subscriber.subscriptions();
  PendingSubscription& request = pending_subscriptions_.at(pending.slot);
  ++own[own.find(channel.id.slot, options_.hash_seed)].unanswered;
  ++channel.pending;
  ++request.left;
  const SubscriptionAsk ask{.name = channel.name.data(),
                            .hash = channel.hash,
                            .channel = channel.id,
                            .name_bytes = static_cast<std::uint32_t>(channel.name.size()),
                            .pending_slot = pending.slot,
                            .pending_generation = pending.generation,
                            .index = static_cast<std::uint16_t>(index),
                            .unsubscribes = request.unsubscribes};
  // A publish on its owner's core takes effect at once, and so must this: a client that sends one
  // behind the other relies on their order.
  if (const CoreId owner = owner_of(channel.hash); fan_outs_.at_once(owner)) {
    answer_ask(ask, owner);
  } else {
    fan_outs_.send(owner, ask);
  }
}

void PubSub::finish_ask(const SubscriptionAnswer& answer) {
  LocalChannel* channel = local_.get(answer.channel.slot, answer.channel.generation);
  PendingSubscription* pending =
      pending_subscriptions_.get(answer.pending_slot, answer.pending_generation);
  RT_ASSERT(channel != nullptr);  // it is kept while an ask is pending
  RT_ASSERT(pending != nullptr);
  RT_ASSERT(channel->pending > 0);
  ErrorCode code = answer.code;
  if (Subscriber* subscriber = find(pending->subscriber)) {
    code = apply(*subscriber, *channel, pending->unsubscribes, answer.code);
    if (code == ErrorCode::limit_exceeded) log_refused_channel(*subscriber, code);
  }
  --channel->pending;
  leave_if_unused(*channel);
  const bool is_done = code == ErrorCode::none;
  pending->results[answer.index] =
      ChannelResult(is_done ? answer.epoch : 0, is_done ? answer.offset : 0, code, 0, 0);
  end_pending(answer.pending_slot);
}

// The owner's answer takes effect. From here on its runs are for this session too, or no more.
// Returns the result for the client: a subscribe that the owner refused leaves nothing to leave.
ErrorCode PubSub::apply(Subscriber& subscriber, LocalChannel& channel, bool unsubscribes,
                        ErrorCode answer) noexcept {
  Subscriptions& own = subscriber.subscriptions();
  const std::uint32_t index = own.find(channel.id.slot, options_.hash_seed);
  RT_ASSERT(index != Subscriptions::kNone);  // it is kept while an ask is unanswered
  Subscription& subscription = own[index];
  RT_ASSERT(subscription.unanswered > 0);
  --subscription.unanswered;
  ErrorCode code = answer;
  if (unsubscribes) {
    code = subscription.listed() ? ErrorCode::none : ErrorCode::not_subscribed;
    if (subscription.listed()) leave(subscriber, index);
  } else if (code == ErrorCode::none) {
    enter(subscriber, channel, index);
  }
  if (subscription.unanswered > 0) return code;
  subscription.wanted = subscription.listed();  // false as well: its only subscribe was refused
  if (!subscription.wanted) forget(subscriber, index);
  return code;
}

void PubSub::end_pending(std::uint32_t slot) {
  PendingSubscription& pending = pending_subscriptions_.at(slot);
  if (--pending.left > 0) return;
  const ReplyTo to = pending.to;
  SubscriptionsChanged done{.unsubscribed = pending.unsubscribes,
                            .results = std::move(pending.results)};
  pending_subscriptions_.erase(slot);
  complete(to, std::move(done));
}

// Answers that are still on their way find it gone.
void PubSub::leave_all(Subscriber& subscriber) noexcept {
  Subscriptions& own = subscriber.subscriptions();
  while (!own.empty()) {
    const auto last = static_cast<std::uint32_t>(own.size() - 1);
    LocalChannel& channel = local_.at(own[last].channel);
    if (own[last].listed()) leave(subscriber, last);
    forget(subscriber, last);
    leave_if_unused(channel);
  }
}

namespace {

template <class Kind>
void add_to(std::vector<LocalChannel::Entry<Kind>>& list, Subscriber& subscriber,
            std::uint32_t index) {
  subscriber.subscriptions()[index].position = static_cast<std::uint32_t>(list.size());
  list.push_back({.subscriber = static_cast<Kind*>(&subscriber), .subscription = index});
}

// The list's last subscriber fills the hole. A hole in front of `handed` is filled by the last
// subscriber in front of it, and the list's last one takes the freed place. So no subscriber
// crosses `handed`.
template <class Kind>
void take_from(std::vector<LocalChannel::Entry<Kind>>& list, Subscriber& subscriber,
               std::uint32_t index, std::uint32_t& handed) noexcept {
  Subscription& gone = subscriber.subscriptions()[index];
  RT_ASSERT(list[gone.position].subscriber == &subscriber);
  RT_ASSERT(list[gone.position].subscription == index);
  const auto move = [&list](std::uint32_t from, std::uint32_t to) {
    list[to] = list[from];
    list[to].subscriber->subscriptions()[list[to].subscription].position = to;
  };
  std::uint32_t hole = gone.position;
  if (hole < handed) {
    move(--handed, hole);
    hole = handed;
  }
  move(static_cast<std::uint32_t>(list.size() - 1), hole);
  list.pop_back();
  gone.position = Subscription::kNotListed;
}

}  // namespace

void PubSub::enter(Subscriber& subscriber, LocalChannel& channel, std::uint32_t index) {
  RT_ASSERT(!subscriber.subscriptions()[index].listed());
  ++subscriptions_;
  if (subscriber.kind() == Subscriber::Kind::session) {
    add_to(channel.sessions, subscriber, index);
  } else {
    add_to(channel.listeners, subscriber, index);
  }
}

void PubSub::leave(Subscriber& subscriber, std::uint32_t index) noexcept {
  LocalChannel& channel = local_.at(subscriber.subscriptions()[index].channel);
  RT_ASSERT(subscriptions_ > 0);
  --subscriptions_;
  if (subscriber.kind() == Subscriber::Kind::session) {
    take_from(channel.sessions, subscriber, index, channel.handed);
  } else {
    std::uint32_t none = 0;  // listeners are few: a run reaches all of them in one turn
    take_from(channel.listeners, subscriber, index, none);
  }
}

// Out of the subscriber's list, whose last subscription fills the hole.
void PubSub::forget(Subscriber& subscriber, std::uint32_t index) noexcept {
  Subscriptions& own = subscriber.subscriptions();
  RT_ASSERT(!own[index].listed());
  own.remove(index, options_.hash_seed);
  if (index >= own.size() || !own[index].listed()) return;
  LocalChannel& channel = local_.at(own[index].channel);
  if (subscriber.kind() == Subscriber::Kind::session) {
    channel.sessions[own[index].position].subscription = index;
  } else {
    channel.listeners[own[index].position].subscription = index;
  }
}

void PubSub::leave_if_unused(LocalChannel& channel) noexcept {
  if (!channel.empty() || channel.pending > 0) return;
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

void PubSub::answer_ask(const SubscriptionAsk& ask, CoreId from) {
  SubscriptionAnswer answer{.channel = ask.channel,
                            .epoch = 0,
                            .offset = 0,
                            .pending_slot = ask.pending_slot,
                            .pending_generation = ask.pending_generation,
                            .index = ask.index,
                            .code = ErrorCode::none};
  const std::string_view name(ask.name, ask.name_bytes);
  OwnedChannel* channel =
      ask.unsubscribes ? find_owned(name, ask.hash) : owned_channel(name, ask.hash);
  if (channel == nullptr) {
    answer.code = ask.unsubscribes ? ErrorCode::not_subscribed : ErrorCode::limit_exceeded;
  } else {
    // Events that were ordered before the answer leave ahead of it.
    flush_channel(*channel);
    if (!ask.unsubscribes) take_interest(*channel, ask.channel, from);
    answer.epoch = channel->epoch;
    answer.offset = channel->offset;
  }
  // On our own core runs are handed over at once, not by lane, and so must be what goes before
  // them.
  if (fan_outs_.results_at_once(from)) {
    finish_ask(answer);
  } else {
    fan_outs_.send_result(from, answer);
  }
}

void PubSub::take_interest(OwnedChannel& channel, LocalChannelId local, CoreId from) {
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

}  // namespace corelane::services
