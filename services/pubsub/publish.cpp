// Publishing: the owner orders, lays out a turn's events as a run, and sends each interested core
// one message a run; that core hands it to its subscribers.

#include <algorithm>
#include <cstring>

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

void PubSub::publish(const Publication& what, const ReplyTo& to) {
  const std::uint64_t name_hash = hash(what.channel);
  const CoreId owner = owner_of(name_hash);
  const bool at_once = fan_outs_.at_once(owner);
  OwnedChannel* owned = at_once ? find_owned(what.channel, name_hash) : nullptr;
  // The name of a channel that exists has been looked at before.
  if (owned == nullptr && !valid_name(what.channel)) {
    return complete(to, Published{.code = protocol::ErrorCode::channel_name_invalid});
  }
  const PublishRecord record{.to = to,
                             .name_bytes = static_cast<std::uint32_t>(what.channel.size()),
                             .hash = name_hash,
                             .publisher = what.publisher,
                             .trace_id = what.trace_id,
                             .span_id = what.span_id,
                             .data_bytes = what.data.size()};
  if (at_once) {
    if (owned == nullptr) owned = owned_channel(what.channel, name_hash);
    if (owned == nullptr) {
      return complete(to, Published{.code = protocol::ErrorCode::limit_exceeded});
    }
    order(*owned, record, what.data);
    return;
  }
  SharedBytes block = SharedBytes::allocate(sizeof record + what.channel.size() + what.data.size());
  std::byte* at = block.data();
  std::memcpy(at, &record, sizeof record);
  std::memcpy(at + sizeof record, what.channel.data(), what.channel.size());
  if (!what.data.empty()) {
    std::memcpy(at + sizeof record + what.channel.size(), what.data.data(), what.data.size());
  }
  fan_outs_.send(owner, PublishAsk{.block = block.lend()});
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
    return send_completion(record.to, Published{.code = protocol::ErrorCode::limit_exceeded});
  }
  pubsub.order(*channel, record,
               {held.data() + sizeof record + record.name_bytes, record.data_bytes});
}

void PubSub::order(OwnedChannel& channel, const PublishRecord& record, protocol::Bytes data) {
  ++counters_.published;
  metrics_.busy_channels().note(channel.name, channel.hash);
  ++channel.offset;
  channel.last_used = core_.now();
  if (channel.interested.empty()) {
    if (record.to.wants_success) {
      send_completion(record.to, Published{.epoch = channel.epoch, .offset = channel.offset});
    }
    return;
  }
  channel.append(
      {.timestamp = core_.wall_now(), .trace_id = record.trace_id, .span_id = record.span_id},
      record.publisher, data);
  if (record.to.wants_success) channel.acks.push_back({.to = record.to, .offset = channel.offset});
  if (channel.dirty) return;
  channel.dirty = true;
  dirty_.push_back(channel.slot);
  core_.request_flush(runtime::FlushPhase::services, flush_hook_);
}

// One event: a WebSocket header and a protocol frame. A block's size is what the last run took, so
// that a steady channel allocates once a turn.
void OwnedChannel::append(const protocol::MessageHeader& header, const protocol::Uuid& publisher,
                          protocol::Bytes data) {
  const bool is_traced = header.span_id != 0 || !header.trace_id.is_nil();
  const auto traced = [&]() -> protocol::EventBody {
    return {
        .channel = name, .epoch = epoch, .offset = offset, .data = data, .publisher = publisher};
  };
  const std::size_t frame =
      is_traced ? protocol::frame_bytes(header, traced()) : events.frame_bytes(data.size());
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
  if (is_traced) [[unlikely]] {
    protocol::lay_frame({to + head, frame}, header, traced());
  } else {
    events.write({to + head, frame},
                 {.timestamp = header.timestamp, .offset = offset, .publisher = publisher}, data);
  }
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
    // A slow reader would keep the whole block, which may be far larger than this run.
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
      if (fan_outs_.results_at_once(interested.core)) {
        fan_out(message, core_.id());  // in this turn; answers of our own lane keep their order
      } else {
        fan_outs_.send_result(interested.core, message);
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
  pending->delivered += count.subscribers;
  if (--pending->cores_left > 0) return;
  for (const AckRequest& request : pending->requests) {
    send_completion(request.to, Published{.epoch = pending->epoch,
                                          .offset = request.offset,
                                          .delivered = pending->delivered});
  }
  pending_acks_.erase(count.acks_slot);
}

// --- The subscriber's side

void PubSub::fan_out(const RunMessage& run, CoreId owner) noexcept {
  fan_outs_.run<&PubSub::walk_on, &PubSub::walk_>(
      *this, RunWalk{.block = SharedBytes::adopt(run.block),
                     .bytes = static_cast<std::size_t>(run.bytes),
                     .channel = run.channel,
                     .events = run.events,
                     .owner = owner,
                     .acks_slot = run.acks_slot,
                     .acks_generation = run.acks_generation});
}

bool PubSub::walk_on(RunWalk& walk) noexcept {
  if (LocalChannel* channel = local_.get(walk.channel.slot, walk.channel.generation)) {
    const EventRun events{
        .block = walk.block, .bytes = {walk.block.data(), walk.bytes}, .events = walk.events};
    const auto& sessions = channel->sessions;
    const std::size_t all = sessions.size();
    const std::size_t begin = channel->handed;
    const std::size_t end = begin + fan_outs_.take(static_cast<std::uint32_t>(all - begin));
    std::uint32_t delivered = 0;
    for (std::size_t i = begin; i < end; ++i) {
      if (i + 2 * kPrefetch < all) __builtin_prefetch(sessions[i + 2 * kPrefetch].subscriber);
      if (i + kPrefetch < all) sessions[i + kPrefetch].subscriber->prefetch_send();
      if (sessions[i].subscriber->send_run(events)) ++delivered;
    }
    Traffic::local().count_out(protocol::Opcode::Event, std::uint64_t{delivered} * walk.events,
                               std::uint64_t{delivered} * walk.bytes);
    walk.delivered += delivered;
    walk.tried += static_cast<std::uint32_t>(end - begin);
    channel->handed = static_cast<std::uint32_t>(end);
    if (end < all) [[unlikely]]
      return false;
    channel->handed = 0;
    for (const auto& entry : channel->listeners) {
      if (entry.subscriber->on_run(events)) ++walk.delivered;
    }
    walk.tried += static_cast<std::uint32_t>(channel->listeners.size());
  }
  counters_.delivered += std::uint64_t{walk.delivered} * walk.events;
  counters_.not_delivered += std::uint64_t{walk.tried - walk.delivered} * walk.events;
  ++counters_.runs_received;
  walk.block.reset();
  if (walk.acks_slot != RunMessage::kNoAcks) {
    core_.lanes().send(walk.owner, RunCount{.acks_slot = walk.acks_slot,
                                            .acks_generation = walk.acks_generation,
                                            .subscribers = walk.delivered});
  }
  return true;
}

}  // namespace corelane::services
