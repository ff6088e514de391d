#include "services/pubsub/pubsub.hpp"

#include <xxhash.h>

#include <algorithm>

#include "services/pubsub/messages.hpp"
#include "ws/utf8.hpp"

namespace corelane::services {

using runtime::Core;
using runtime::CoreId;

std::size_t PubSub::SeededHash::operator()(std::string_view name) const noexcept {
  return XXH3_64bits_withSeed(name.data(), name.size(), seed);
}

PubSub::SweepTimer::SweepTimer(PubSub& owner) noexcept
    : Timer([](runtime::Timer& timer) noexcept { static_cast<SweepTimer&>(timer).pubsub.sweep(); }),
      pubsub(owner) {}

PubSub::PubSub(const PubSubOptions& options)
    : options_(options),
      core_(Core::current()),
      fan_outs_(Sessions::local().fan_outs()),
      metrics_(Metrics::local()),
      local_(UINT32_MAX - 1),
      local_by_name_(0, SeededHash{options.hash_seed}),
      pending_subscriptions_(UINT32_MAX - 1),
      listeners_(UINT32_MAX - 1),
      owned_(UINT32_MAX - 1),
      owned_by_name_(0, SeededHash{options.hash_seed}),
      pending_acks_(UINT32_MAX - 1),
      sweep_timer_(*this),
      flush_hook_{[](void* context) noexcept { static_cast<PubSub*>(context)->flush(); }, this,
                  false} {
  Sessions::local().tell_ended(*this);
  set_local(ServiceSlot::pubsub, this);
}

PubSub::~PubSub() {
  core_.timers().cancel(sweep_timer_);
  pending_subscriptions_.clear();
  pending_acks_.clear();
  local_.clear();
  owned_.clear();
  set_local(ServiceSlot::pubsub, nullptr);
}

std::uint64_t PubSub::hash(std::string_view name) const noexcept {
  return SeededHash{options_.hash_seed}(name);
}

CoreId PubSub::owner_of(std::uint64_t hash) const noexcept {
  // The high bits: the low ones choose the bucket in the name maps.
  return static_cast<CoreId>((hash >> 32) * core_.cores() >> 32);
}

bool PubSub::valid_name(std::string_view name) const noexcept {
  if (name.empty() || name.size() > options_.channel_name_bytes_max) return false;
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  if (std::any_of(name.begin(), name.end(), is_control)) return false;
  return ws::is_valid_utf8(std::as_bytes(std::span{name}));
}

LocalChannel* PubSub::find_local(std::string_view name, std::uint64_t hash) noexcept {
  const auto found = local_by_name_.find(name, hash);
  return found == local_by_name_.end() ? nullptr : &local_.at(found->second);
}

LocalChannel& PubSub::local_channel(std::string_view name, std::uint64_t hash) {
  if (LocalChannel* channel = find_local(name, hash)) return *channel;
  const auto made = local_.emplace(name, hash);
  RT_ASSERT(made.value != nullptr);
  made.value->id = {.slot = made.id.slot, .generation = made.id.generation};
  local_by_name_.emplace(made.value->name, made.id.slot);
  return *made.value;
}

OwnedChannel* PubSub::find_owned(std::string_view name, std::uint64_t hash) noexcept {
  const auto found = owned_by_name_.find(name, hash);
  return found == owned_by_name_.end() ? nullptr : &owned_.at(found->second);
}

OwnedChannel* PubSub::owned_channel(std::string_view name, std::uint64_t hash) {
  if (OwnedChannel* channel = find_owned(name, hash)) return channel;
  if (owned_.count() >= options_.channels_max) return nullptr;
  // Never the same again for this name: random, and never 0, which means "no position".
  const std::uint64_t epoch = core_.random().next() | 1;
  const auto made = owned_.emplace(name, hash, epoch);
  RT_ASSERT(made.value != nullptr);
  made.value->slot = made.id.slot;
  made.value->last_used = core_.now();
  owned_by_name_.emplace(made.value->name, made.id.slot);
  if (!sweep_timer_.queued()) core_.timers().add(sweep_timer_, core_.now() + kRetention);
  return made.value;
}

void PubSub::drop_local(LocalChannel& channel) noexcept {
  RT_ASSERT(channel.empty());
  RT_ASSERT(channel.pending == 0);
  local_by_name_.erase(channel.name, channel.hash);
  local_.erase(channel.id.slot);
}

// Forgets channels that nobody has used for a while: looks at the next kSweepStep of them.
void PubSub::sweep() noexcept {
  const runtime::Nanoseconds before = core_.now() - kRetention;
  const std::uint32_t slots = owned_.slots();
  const std::uint32_t end = sweep_at_ + std::min(kSweepStep, slots - sweep_at_);
  for (; sweep_at_ < end; ++sweep_at_) {
    const OwnedChannel* channel = owned_.in_slot(sweep_at_);
    if (channel == nullptr || channel->dirty) continue;
    if (!channel->interested.empty() || channel->last_used > before) continue;
    owned_by_name_.erase(channel->name, channel->hash);
    owned_.erase(sweep_at_);
  }
  if (sweep_at_ < slots) {
    core_.timers().add(sweep_timer_, core_.now() + kSweepPause);
    return;
  }
  sweep_at_ = 0;
  if (owned_.count() > 0) core_.timers().add(sweep_timer_, core_.now() + kRetention);
}

}  // namespace corelane::services
