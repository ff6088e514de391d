// Writing a value: in place where the entry keeps its shape, else into a new slot that takes the
// old one's place in the index and the queues.
#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "services/cache/table.hpp"

namespace corelane::services {

using runtime::kMillisecond;
using runtime::Nanoseconds;
using runtime::SharedBytes;

namespace {

constexpr std::size_t padded(std::size_t bytes) noexcept {
  return (bytes + 7) / 8 * 8;
}

// What a block of so many bytes counts, at most: its head, and a quarter (mimalloc has four sizes
// between powers of two).
constexpr std::size_t block_bytes_for(std::size_t bytes) noexcept {
  const std::size_t asked = padded(bytes) + 64;
  return with_fragments(asked + asked / 4);
}

void copy(std::byte* to, std::span<const std::byte> from) noexcept {
  if (!from.empty()) std::memcpy(to, from.data(), from.size());
}

}  // namespace

CacheTable::Life CacheTable::life_of(const CacheLifetime& lifetime, EntryRef ref,
                                     std::uint8_t space, Nanoseconds now) const noexcept {
  using Kind = CacheLifetime::Kind;
  if (lifetime.kind == Kind::none) return {};
  if (lifetime.kind == Kind::keep && ref != 0) {
    const CacheEntry& entry = pages_.at(ref);
    if (!entry.timed) return {};
    return {.timed = true,
            .sliding = entry.sliding,
            .expires_ms = entry.timing().expires_ms,
            .span_ms = entry.sliding ? entry.span_ms() : 0};
  }
  const bool is_own = lifetime.kind == Kind::span;
  const std::uint64_t ms = is_own ? lifetime.ms : spaces_[space].default_ttl_ms;
  if (ms == 0) return {};
  const std::uint64_t span = std::min(ms, kCacheLifetimeMsMax);
  // An entry lives a part of a ms longer rather than shorter.
  const auto from = static_cast<std::uint64_t>((now + kMillisecond - 1) / kMillisecond);
  return {.timed = true,
          .sliding = is_own && lifetime.sliding,
          .expires_ms = from + span,
          .span_ms = span};
}

CacheChanged CacheTable::write(const CacheKey& key, const Draft& draft, Nanoseconds now) {
  EntryRef ref = draft.ref;
  const std::uint8_t space = ref == 0 ? space_of(key.bytes) : pages_.at(ref).space;
  const std::size_t kept = draft.keeps_old ? pages_.at(ref).value_bytes : 0;
  const std::size_t bytes = kept + draft.added.size();
  if (bytes > value_bytes_max_) [[unlikely]] {
    ++spaces_[space].counters.refused;
    return {.status = CacheStatus::too_large};
  }
  const EntryShape shape{key.bytes.size(), bytes, draft.life.timed, draft.life.sliding};
  const CachePages::SizeClass size_class = CachePages::class_of(shape.bytes());
  const bool stays =
      ref != 0 && pages_.class_at(ref) == size_class && pages_.at(ref).has_layout_of(shape);
  // A block that stays as it is goes with the entry.
  const bool keeps_block = draft.keeps_old && draft.added.empty() && pages_.at(ref).has_block;
  const bool needs_block = shape.has_block() && !keeps_block;
  if (!stays || needs_block) {
    const std::size_t block = needs_block ? block_bytes_for(bytes) : 0;
    const Room room{.space = space,
                    .needs_slot = !stays,
                    .size_class = size_class,
                    .block_bytes = block,
                    .entry_before = ref == 0 ? 0 : entry_memory(pages_, ref),
                    .entry_after = CachePages::class_bytes(size_class) + block};
    const bool can_fit = can_ever_fit(room);
    pinned_ = ref;
    const bool fits = can_fit && make_room(room, now);
    ref = std::exchange(pinned_, 0);
    if (!fits) [[unlikely]] {
      ++spaces_[space].counters.refused;
      book();
      return {.status = can_fit ? CacheStatus::no_memory : CacheStatus::too_large};
    }
  }
  Draft moved = draft;
  moved.ref = ref;
  SharedBytes block = needs_block ? make_block(moved, bytes) : SharedBytes{};
  if (stays) {
    rewrite(moved, std::move(block));
  } else {
    ref = build(key, moved, space, shape, std::move(block));
  }
  CacheEntry& entry = pages_.at(ref);
  if (draft.new_version) {
    entry.version = ++last_version_;
    ++spaces_[space].counters.sets;
    if (observer_ != nullptr) [[unlikely]] {
      observer_->on_change({.key = key.bytes,
                            .hash = key.hash,
                            .what = CacheChange::set,
                            .version = entry.version,
                            .value = entry.value(),
                            .block = entry.has_block ? &entry.block() : nullptr});
    }
  }
  book();
  return {.status = CacheStatus::ok, .version = entry.version};
}

SharedBytes CacheTable::make_block(const Draft& draft, std::size_t bytes) const {
  SharedBytes block = SharedBytes::allocate(padded(bytes), runtime::MemoryKind::cache);
  std::size_t at = 0;
  if (draft.keeps_old) {
    const std::span<const std::byte> old = pages_.at(draft.ref).value();
    copy(block.data(), old);
    at = old.size();
  }
  copy(block.data() + at, draft.added);
  std::memset(block.data() + bytes, 0, block.capacity() - bytes);
  return block;
}

// The entry keeps its slot and its layout.
void CacheTable::rewrite(const Draft& draft, SharedBytes block) {
  CacheEntry& entry = pages_.at(draft.ref);
  if (block) {
    const std::size_t before = block_memory(entry.block());
    const std::size_t after = block_memory(block);
    space_at(draft.ref).queues.resized(entry, before, after);
    blocks_ += after;
    std::swap(entry.block(), block);
    drop_block(std::move(block));
  } else if (!entry.has_block) {
    copy(entry.inline_data() + (draft.keeps_old ? entry.value_bytes : 0), draft.added);
  }
  if (draft.keeps_old) {
    entry.value_bytes += static_cast<std::uint32_t>(draft.added.size());
  } else {
    entry.value_bytes = static_cast<std::uint32_t>(draft.added.size());
  }
  if (!entry.timed) return;
  if (entry.sliding) entry.set_span_ms(draft.life.span_ms);
  if (entry.timing().expires_ms == draft.life.expires_ms) return;
  wheel_.erase(draft.ref);
  entry.timing().expires_ms = draft.life.expires_ms;
  wheel_.insert(draft.ref);
}

// A new slot, for a new entry or in place of draft.ref.
EntryRef CacheTable::build(const CacheKey& key, const Draft& draft, std::uint8_t space,
                           const EntryShape& shape, SharedBytes block) {
  const EntryRef ref = pages_.take(CachePages::class_of(shape.bytes()));
  CacheEntry& entry = *::new (static_cast<void*>(&pages_.at(ref))) CacheEntry{};
  entry.version = 1;  // taken
  entry.value_bytes = static_cast<std::uint32_t>(shape.value_bytes);
  entry.key_bytes = static_cast<std::uint16_t>(shape.key_bytes);
  entry.space = space;
  entry.timed = shape.timed;
  entry.sliding = shape.sliding;
  entry.has_block = shape.has_block();
  std::memcpy(entry.key_data(), key.bytes.data(), key.bytes.size());
  CacheEntry* const old = draft.ref == 0 ? nullptr : &pages_.at(draft.ref);
  const std::size_t before = old == nullptr ? 0 : entry_memory(pages_, draft.ref);
  if (entry.has_block) {
    if (block) blocks_ += block_memory(block);
    ::new (static_cast<void*>(&entry.block())) SharedBytes(std::move(block ? block : old->block()));
  } else {
    const std::span<const std::byte> kept =
        draft.keeps_old ? old->value() : std::span<const std::byte>{};
    copy(entry.inline_data(), kept);
    copy(entry.inline_data() + kept.size(), draft.added);
  }
  if (old == nullptr) {
    index_.insert(key.hash, ref);
    spaces_[space].queues.insert(pages_, ref, ghosts_.take(key.hash));
    ++spaces_[space].counters.entries;
  } else {
    entry.version = old->version;
    take_place(draft.ref, ref, before, key);
  }
  if (entry.timed) {
    entry.timing().expires_ms = draft.life.expires_ms;
    if (entry.sliding) entry.set_span_ms(draft.life.span_ms);
    wheel_.insert(ref);
  }
  return ref;
}

// `to` takes over the old entry's places; the old slot and block are given back.
void CacheTable::take_place(EntryRef from, EntryRef to, std::size_t before,
                            const CacheKey& key) noexcept {
  CacheEntry& old = pages_.at(from);
  CacheEntry& entry = pages_.at(to);
  entry.newer = old.newer;
  entry.older = old.older;
  entry.frequency = old.frequency;
  entry.in_main = old.in_main;
  CacheQueues& queues = space_at(to).queues;
  queues.resized(entry, before, entry_memory(pages_, to));
  queues.moved(pages_, from, to);
  index_.replace(key.hash, from, to);
  if (old.timed) wheel_.erase(from);
  if (old.has_block && old.block()) drop_block(std::move(old.block()));
  pages_.give(from);
}

}  // namespace corelane::services
