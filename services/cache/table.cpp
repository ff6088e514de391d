// The table's operations; how values are written stands in table_write.cpp, how room for them is
// made in table_memory.cpp.
#include "services/cache/table.hpp"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <utility>

namespace corelane::services {

using runtime::kMillisecond;
using runtime::kNever;
using runtime::Nanoseconds;

namespace {

bool is_valid(std::string_view key) noexcept {
  return !key.empty() && key.size() <= kCacheKeyBytesMax;
}

}  // namespace

CacheTable::CacheTable(const CacheOptions& options)
    : seed_(options.hash_seed),
      last_version_(options.first_version),
      limit_(options.bytes_max),
      value_bytes_max_(options.value_bytes_max),
      index_({.function = &CacheTable::hash_at, .context = this}),
      wheel_(pages_) {
  RT_ASSERT(limit_ >= kCacheBytesMin);
  RT_ASSERT(value_bytes_max_ <= kCacheValueBytesMax);
  RT_ASSERT(options.namespaces.size() < kCacheNamespacesMax);
  spaces_.emplace_back();
  for (const CacheNamespaceOptions& space : options.namespaces) {
    RT_ASSERT(!space.prefix.empty());
    by_length_.push_back(static_cast<std::uint8_t>(spaces_.size()));
    spaces_.push_back({.prefix = space.prefix,
                       .bytes_max = space.bytes_max,
                       .default_ttl_ms = std::min(space.default_ttl_ms, kCacheLifetimeMsMax),
                       .queues = {},
                       .counters = {}});
  }
  std::ranges::sort(by_length_, std::greater{},
                    [this](std::uint8_t space) { return spaces_[space].prefix.size(); });
  book();
}

CacheTable::~CacheTable() {
  // Nobody is told: the table ends, not its entries.
  observer_ = nullptr;
  for (Space& space : spaces_) {
    while (const EntryRef ref = space.queues.any()) drop(ref, CacheChange::deleted, 0);
  }
}

// --- Lookups

std::uint64_t CacheTable::hash(std::string_view key, std::uint64_t seed) noexcept {
  return XXH3_64bits_withSeed(key.data(), key.size(), seed);
}

std::uint64_t CacheTable::hash_at(const void* table, EntryRef ref) noexcept {
  const auto* self = static_cast<const CacheTable*>(table);
  return hash(self->pages_.at(ref).key(), self->seed_);
}

void CacheTable::prefetch(const CacheKey& key) const noexcept {
  index_.prefetch(key.hash);
}

EntryRef CacheTable::find(const CacheKey& key) const noexcept {
  return index_.find(key.hash,
                     [&](EntryRef ref) noexcept { return pages_.at(ref).key() == key.bytes; });
}

bool CacheTable::is_expired(const CacheEntry& entry, Nanoseconds now) const noexcept {
  if (!entry.timed) return false;
  return entry.timing().expires_ms <= static_cast<std::uint64_t>(now / kMillisecond);
}

EntryRef CacheTable::find_live(const CacheKey& key, Nanoseconds now) noexcept {
  const EntryRef ref = find(key);
  if (ref == 0) return 0;
  const CacheEntry& entry = pages_.at(ref);
  if (!is_expired(entry, now)) [[likely]]
    return ref;
  drop(ref, CacheChange::expired, entry.version);
  return 0;
}

std::uint8_t CacheTable::space_of(std::string_view key) const noexcept {
  for (const std::uint8_t space : by_length_) {
    if (key.starts_with(spaces_[space].prefix)) return space;
  }
  return 0;
}

CacheFound CacheTable::found(const CacheEntry& entry, Nanoseconds now) const noexcept {
  CacheFound found{.status = CacheStatus::ok,
                   .sliding = entry.sliding,
                   .version = entry.version,
                   .ttl_ms = 0,
                   .bytes = entry.value(),
                   .block = entry.has_block ? &entry.block() : nullptr};
  if (entry.timed) {
    const auto left = static_cast<Nanoseconds>(entry.timing().expires_ms) * kMillisecond - now;
    found.ttl_ms = static_cast<std::uint64_t>(std::max(left / kMillisecond, Nanoseconds{1}));
  }
  return found;
}

CacheFound CacheTable::peek(const CacheKey& key, Nanoseconds now) noexcept {
  if (!is_valid(key.bytes)) return {.status = CacheStatus::key_invalid, .bytes = {}};
  const EntryRef ref = find(key);
  if (ref == 0 || is_expired(pages_.at(ref), now)) return {};
  return found(pages_.at(ref), now);
}

CacheFound CacheTable::get(const CacheKey& key, Nanoseconds now,
                           std::uint64_t newer_than) noexcept {
  const EntryRef ref = find_live(key, now);
  if (ref == 0) [[unlikely]] {
    if (!is_valid(key.bytes)) return {.status = CacheStatus::key_invalid, .bytes = {}};
    ++spaces_[space_of(key.bytes)].counters.misses;
    return {};
  }
  CacheEntry& entry = pages_.at(ref);
  ++spaces_[entry.space].counters.hits;
  if (entry.frequency < 3) entry.frequency = (entry.frequency + 1) & 3;
  // Its place in the wheel stays, which is earlier; expire() finds the new time there.
  if (entry.sliding) {
    entry.timing().expires_ms = static_cast<std::uint64_t>(now / kMillisecond) + entry.span_ms();
  }
  CacheFound result = found(entry, now);
  if (entry.version <= newer_than) {
    result.status = CacheStatus::not_modified;
    result.bytes = {};
    result.block = nullptr;
  }
  return result;
}

// --- Changes

CacheChanged CacheTable::set(const CacheKey& key, std::span<const std::byte> value,
                             const SetOptions& options, Nanoseconds now) {
  if (!is_valid(key.bytes)) return {.status = CacheStatus::key_invalid};
  const EntryRef ref = find_live(key, now);
  const std::uint64_t version = ref == 0 ? 0 : pages_.at(ref).version;
  switch (options.condition) {
    case CacheCondition::none:
      break;
    case CacheCondition::create_only:
      if (ref != 0) return {.status = CacheStatus::exists, .version = version};
      break;
    case CacheCondition::if_version:
      if (ref != 0 && version != options.version) {
        return {.status = CacheStatus::version_mismatch, .version = version};
      }
      [[fallthrough]];
    case CacheCondition::replace_only:
      if (ref == 0) return {.status = CacheStatus::missing};
      break;
  }
  const std::uint8_t space = ref == 0 ? space_of(key.bytes) : pages_.at(ref).space;
  return write(
      key, {.ref = ref, .added = value, .life = life_of(options.lifetime, ref, space, now)}, now);
}

CacheChanged CacheTable::remove(const CacheKey& key, std::uint64_t version,
                                Nanoseconds now) noexcept {
  if (!is_valid(key.bytes)) return {.status = CacheStatus::key_invalid};
  const EntryRef ref = find_live(key, now);
  if (ref == 0) return {.status = CacheStatus::missing};
  const std::uint64_t current = pages_.at(ref).version;
  if (version != 0 && version != current) {
    return {.status = CacheStatus::version_mismatch, .version = current};
  }
  ++last_version_;
  drop(ref, CacheChange::deleted, last_version_);
  return {.status = CacheStatus::ok, .version = last_version_};
}

CacheChanged CacheTable::touch(const CacheKey& key, const CacheLifetime& lifetime,
                               Nanoseconds now) {
  if (!is_valid(key.bytes)) return {.status = CacheStatus::key_invalid};
  const EntryRef ref = find_live(key, now);
  if (ref == 0) return {.status = CacheStatus::missing};
  Life life = life_of(lifetime, ref, pages_.at(ref).space, now);
  if (lifetime.kind == CacheLifetime::Kind::keep && life.sliding) {
    life.expires_ms = static_cast<std::uint64_t>(now / kMillisecond) + life.span_ms;
  }
  return write(
      key, {.ref = ref, .keeps_old = true, .new_version = false, .added = {}, .life = life}, now);
}

CacheIncremented CacheTable::increment(const CacheKey& key, const CacheIncrement& what,
                                       Nanoseconds now) {
  if (!is_valid(key.bytes)) return {.status = CacheStatus::key_invalid};
  const EntryRef ref = find_live(key, now);
  if (ref == 0 && !what.creates) return {.status = CacheStatus::missing};
  std::int64_t before = what.initial;
  if (ref != 0) {
    const std::span<const std::byte> value = pages_.at(ref).value();
    const char* const begin = reinterpret_cast<const char*>(value.data());
    const char* const end = begin + value.size();
    const auto [parsed, error] = std::from_chars(begin, end, before);
    if (error != std::errc{} || parsed != end) {
      return {.status = CacheStatus::not_a_number, .version = pages_.at(ref).version};
    }
  }
  std::int64_t sum = 0;
  if (__builtin_add_overflow(before, what.by, &sum) || sum < what.low || sum > what.high) {
    return {.status = CacheStatus::out_of_bounds,
            .value = before,
            .version = ref == 0 ? 0 : pages_.at(ref).version};
  }
  std::array<char, std::numeric_limits<std::int64_t>::digits10 + 3> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), sum).ptr;
  const std::uint8_t space = ref == 0 ? space_of(key.bytes) : pages_.at(ref).space;
  const CacheChanged changed = write(
      key,
      {.ref = ref,
       .added = std::as_bytes(std::span(text.data(), static_cast<std::size_t>(end - text.data()))),
       .life = life_of(what.lifetime, ref, space, now)},
      now);
  return {.status = changed.status,
          .value = changed.status == CacheStatus::ok ? sum : before,
          .version = changed.version};
}

CacheChanged CacheTable::append(const CacheKey& key, std::span<const std::byte> bytes,
                                const CacheLifetime& lifetime, Nanoseconds now) {
  if (!is_valid(key.bytes)) return {.status = CacheStatus::key_invalid};
  const EntryRef ref = find_live(key, now);
  const std::uint8_t space = ref == 0 ? space_of(key.bytes) : pages_.at(ref).space;
  return write(key,
               {.ref = ref,
                .keeps_old = ref != 0,
                .added = bytes,
                .life = life_of(lifetime, ref, space, now)},
               now);
}

// --- Walks

template <class Each>
CacheWalk CacheTable::walk(std::string_view prefix, std::uint64_t cursor, std::uint32_t steps,
                           Nanoseconds now, Each&& each) {
  CacheWalk walk{.next = cursor};
  std::uint32_t buckets = 0;
  do {
    walk.next = index_.walk(walk.next, walked_);
    for (const EntryRef ref : walked_) {
      ++walk.examined;
      const CacheEntry& entry = pages_.at(ref);
      if (!entry.key().starts_with(prefix) || is_expired(entry, now)) continue;
      ++walk.matched;
      each(ref);
    }
    ++buckets;  // an empty one is a step, too
  } while (walk.next != 0 && walk.examined + buckets / 4 < steps);
  return walk;
}

CacheWalk CacheTable::scan(std::string_view prefix, std::uint64_t cursor, std::uint32_t steps,
                           Nanoseconds now, Visit visit, void* context) {
  return walk(prefix, cursor, steps, now, [&](EntryRef ref) {
    const CacheEntry& entry = pages_.at(ref);
    visit(context, entry.key(), found(entry, now));
  });
}

CacheWalk CacheTable::remove_prefix(std::string_view prefix, std::uint64_t cursor,
                                    std::uint32_t steps, Nanoseconds now) noexcept {
  return walk(prefix, cursor, steps, now,
              [&](EntryRef ref) { drop(ref, CacheChange::deleted, ++last_version_); });
}

// --- Figures

Nanoseconds CacheTable::next_expiry() const noexcept {
  const std::uint64_t ms = wheel_.earliest_ms();
  if (ms > static_cast<std::uint64_t>(kNever / kMillisecond)) return kNever;
  return static_cast<Nanoseconds>(ms) * kMillisecond;
}

CacheTable::Memory CacheTable::memory() const noexcept {
  return {.used = used(),
          .limit = limit_,
          .pages = pages_.bytes(),
          .blocks = blocks_,
          .held = held_ + retired_.capacity() * sizeof(Retired),
          .index = index_.bytes(),
          .ghosts = ghosts_.bytes()};
}

std::string_view CacheTable::namespace_prefix(std::size_t index) const noexcept {
  return spaces_[index].prefix;
}

CacheCounters CacheTable::counters(std::size_t index) const noexcept {
  CacheCounters counters = spaces_[index].counters;
  counters.bytes = spaces_[index].queues.bytes();
  return counters;
}

CacheCounters CacheTable::counters() const noexcept {
  CacheCounters sum;
  for (std::size_t i = 0; i < spaces_.size(); ++i) sum += counters(i);
  return sum;
}

}  // namespace corelane::services
