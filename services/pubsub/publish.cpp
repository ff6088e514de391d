// Publishing: the owner orders, lays out a turn's events as a run, and sends each interested core
// one message a run; that core hands it to its subscribers.

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "services/pubsub/messages.hpp"
#include "services/pubsub/pubsub.hpp"
#include "ws/frame.hpp"

namespace corelane::services {

using runtime::CoreId;
using runtime::SharedBytes;

namespace {

constexpr std::size_t kRunBytesMax = 64 * 1024;  // a block; a larger event has one of its own
constexpr std::size_t kPrefetch = 6;  // subscribers ahead: a miss takes as long as 3 to 6

}  // namespace

// --- The publisher's side

void PubSub::publish(Session& from, const protocol::MessageHeader& header, std::string_view channel,
                     protocol::Bytes data, bool requires_ack) {
  const std::uint64_t name_hash = hash(channel);
  const CoreId owner = owner_of(name_hash);
  OwnedChannel* owned = owner == core_.id() ? find_owned(channel, name_hash) : nullptr;
  // The name of a channel that exists has been looked at before.
  if (owned == nullptr && !valid_name(channel)) {
    from.send_error(
        header.transaction_id, protocol::Opcode::Publish, protocol::ErrorCode::channel_name_invalid,
        fmt::format("a channel name has 1 to {} bytes (limits.channel_name_bytes_max) of "
                    "UTF-8 without control characters",
                    options_.channel_name_bytes_max));
    return;
  }
  const PublishRecord record{
      .from = {.session = from.id(), .transaction_id = header.transaction_id},
      .publisher = from.uuid(),
      .hash = name_hash,
      .name_bytes = static_cast<std::uint32_t>(channel.size()),
      .data_bytes = static_cast<std::uint32_t>(data.size()),
      .requires_ack = requires_ack};
  if (requires_ack) from.expect_answer();
  if (owner == core_.id()) {
    if (owned == nullptr) owned = owned_channel(channel, name_hash);
    if (owned != nullptr) {
      order(*owned, record, data);
    } else {
      send_refusal(record.from, requires_ack);
    }
    return;
  }
  SharedBytes block = SharedBytes::allocate(sizeof record + channel.size() + data.size());
  std::byte* to = block.data();
  std::memcpy(to, &record, sizeof record);
  std::memcpy(to + sizeof record, channel.data(), channel.size());
  if (!data.empty()) {
    std::memcpy(to + sizeof record + channel.size(), data.data(), data.size());
  }
  core_.lanes().send(owner, PublishAsk{.block = block.lend()});
}

void PubSub::send_ack(const AckMessage& ack) noexcept {
  Session* session = Sessions::local().find(ack.to.session);
  if (session == nullptr) return;
  session->send(
      {.transaction_id = ack.to.transaction_id, .timestamp = core_.wall_now()},
      protocol::AckBody{.epoch = ack.epoch, .offset = ack.offset, .delivered = ack.delivered});
  session->answered();
}

void PubSub::send_refusal(const Requester& to, bool is_awaited) noexcept {
  Session* session = Sessions::local().find(to.session);
  if (session == nullptr) return;
  session->send_error(to.transaction_id, protocol::Opcode::Publish,
                      protocol::ErrorCode::limit_exceeded,
                      fmt::format("the channel's core has limits.channels_max ({}) channels",
                                  options_.channels_max),
                      kRetryAfterMs);
  if (is_awaited) session->answered();
}

// --- The owner's side

void PubSub::PublishAsk::deliver(CoreId) const {
  const SharedBytes held = SharedBytes::adopt(block);
  PublishRecord record;
  std::memcpy(&record, held.data(), sizeof record);
  const auto* name = reinterpret_cast<const char*>(held.data() + sizeof record);
  PubSub& pubsub = PubSub::local();
  OwnedChannel* channel = pubsub.owned_channel({name, record.name_bytes}, record.hash);
  if (channel == nullptr) {
    pubsub.core_.lanes().send(record.from.session.core,
                              RefusalMessage{.to = record.from, .is_awaited = record.requires_ack});
    return;
  }
  pubsub.order(*channel, record,
               {held.data() + sizeof record + record.name_bytes, record.data_bytes});
}

void PubSub::order(OwnedChannel& channel, const PublishRecord& record, protocol::Bytes data) {
  ++counters_.published;
  ++channel.offset;
  channel.last_used = core_.now();
  const AckRequest request{.to = record.from, .offset = channel.offset};
  if (channel.interested.empty()) {
    if (record.requires_ack) acknowledge(channel, request, 0);
    return;
  }
  channel.append(
      {.timestamp = core_.wall_now(), .offset = channel.offset, .publisher = record.publisher},
      data);
  if (record.requires_ack) channel.acks.push_back(request);
  if (channel.dirty) return;
  channel.dirty = true;
  dirty_.push_back(channel.slot);
  core_.request_flush(runtime::FlushPhase::services, flush_hook_);
}

// One event: a WebSocket header and a protocol frame. A block's size is what the last run took, so
// that a steady channel allocates once a turn.
void OwnedChannel::append(const protocol::EventStamp& stamp, protocol::Bytes data) {
  const std::size_t frame = events.frame_bytes(data.size());
  const std::size_t head = ws::server_header_bytes(frame);
  const std::size_t bytes = head + frame;
  if (run.empty() || run.back().bytes.capacity() - run.back().used < bytes) {
    const std::size_t grown = run.empty() ? run_bytes_before : 2 * run.back().bytes.capacity();
    const std::size_t capacity = std::max(bytes, std::min(grown, kRunBytesMax));
    run.push_back({.bytes = SharedBytes::allocate(capacity)});
  }
  Block& block = run.back();
  std::byte* to = block.bytes.data() + block.used;
  ws::write_server_header(to, {.opcode = ws::Opcode::binary}, frame);
  events.write({to + head, frame}, stamp, data);
  block.used += bytes;
  ++block.events;
}

void PubSub::flush() noexcept {
  // flush_channel() only ever clears the mark of the channel it is given.
  for (std::size_t i = 0; i < dirty_.size(); ++i) flush_channel(owned_.at(dirty_[i]));
  dirty_.clear();
}

void PubSub::flush_channel(OwnedChannel& channel) noexcept {
  channel.dirty = false;
  if (channel.run.empty()) return;
  std::size_t run_bytes = 0;
  std::uint64_t offset = channel.offset;
  for (const OwnedChannel::Block& block : channel.run) offset -= block.events;
  std::size_t acks_begin = 0;
  for (OwnedChannel::Block& block : channel.run) {
    offset += block.events;  // of the block's last event
    // Who does not read keeps the whole block, which may be far larger than this run.
    if (block.used < block.bytes.capacity() / 4) {
      block.bytes = SharedBytes::copy({block.bytes.data(), block.used});
    }
    std::size_t acks_end = acks_begin;
    while (acks_end < channel.acks.size() && channel.acks[acks_end].offset <= offset) ++acks_end;
    RunMessage message{.block = {},
                       .bytes = block.used,
                       .channel = {},
                       .events = block.events,
                       .acks_slot = RunMessage::kNoAcks,
                       .acks_generation = 0};
    if (acks_end > acks_begin) {
      const auto pending = pending_acks_.emplace();
      pending.value->epoch = channel.epoch;
      pending.value->cores_left = static_cast<std::uint32_t>(channel.interested.size());
      pending.value->requests.assign(channel.acks.begin() + static_cast<std::ptrdiff_t>(acks_begin),
                                     channel.acks.begin() + static_cast<std::ptrdiff_t>(acks_end));
      message.acks_slot = pending.id.slot;
      message.acks_generation = pending.id.generation;
    }
    acks_begin = acks_end;
    for (const OwnedChannel::Interested& interested : channel.interested) {
      message.block = block.bytes.lend();
      message.channel = interested.channel;
      ++counters_.runs;
      if (interested.core == core_.id()) {
        fan_out(message, core_.id());  // in this turn; answers of our own lane keep their order
      } else {
        core_.lanes().send(interested.core, message);
      }
    }
    run_bytes += block.used;
  }
  channel.run_bytes_before = run_bytes;
  channel.run.clear();
  channel.acks.clear();
}

void PubSub::count_run(const RunCount& count) noexcept {
  PendingAcks* pending = pending_acks_.get(count.acks_slot, count.acks_generation);
  RT_ASSERT(pending != nullptr);
  pending->delivered += count.sessions;
  if (--pending->cores_left > 0) return;
  for (const AckRequest& request : pending->requests) {
    core_.lanes().send(request.to.session.core, AckMessage{.to = request.to,
                                                           .epoch = pending->epoch,
                                                           .offset = request.offset,
                                                           .delivered = pending->delivered});
  }
  pending_acks_.erase(count.acks_slot);
}

void PubSub::acknowledge(const OwnedChannel& channel, const AckRequest& request,
                         std::uint32_t delivered) noexcept {
  core_.lanes().send(request.to.session.core, AckMessage{.to = request.to,
                                                         .epoch = channel.epoch,
                                                         .offset = request.offset,
                                                         .delivered = delivered});
}

// --- The subscriber's side

void PubSub::fan_out(const RunMessage& run, CoreId owner) noexcept {
  const SharedBytes block = SharedBytes::adopt(run.block);
  std::uint32_t sessions = 0;
  if (const LocalChannel* channel = local_.get(run.channel.slot, run.channel.generation)) {
    const EventRun events{.block = block,
                          .bytes = {block.data(), static_cast<std::size_t>(run.bytes)}};
    const std::vector<LocalChannel::Subscriber>& subscribers = channel->subscribers;
    const std::size_t all = subscribers.size();
    for (std::size_t i = 0; i < all; ++i) {
      if (i + 2 * kPrefetch < all) __builtin_prefetch(subscribers[i + 2 * kPrefetch].session);
      if (i + kPrefetch < all) subscribers[i + kPrefetch].session->prefetch_send();
      if (subscribers[i].session->send_run(events)) ++sessions;
    }
    counters_.delivered += std::uint64_t{sessions} * run.events;
    counters_.not_delivered += (all - sessions) * run.events;
  }
  ++counters_.runs_received;
  if (run.acks_slot != RunMessage::kNoAcks) {
    core_.lanes().send(owner, RunCount{.acks_slot = run.acks_slot,
                                       .acks_generation = run.acks_generation,
                                       .sessions = sessions});
  }
}

}  // namespace corelane::services
