// Operations on many keys: several named ones, and those with a prefix.

#include <algorithm>

#include "runtime/submit.hpp"
#include "services/cache/cache.hpp"
#include "services/cache/messages.hpp"

namespace corelane::services {

using runtime::Core;
using runtime::CoreId;
using runtime::Result;
using runtime::Task;

namespace {

// A cursor of a walk over all cores: the core, and the position in its table.
constexpr std::uint64_t cursor_of(CoreId core, std::uint64_t position) noexcept {
  return std::uint64_t{core} << 32 | position;
}
CoreId core_of(std::uint64_t cursor) noexcept {
  const std::uint64_t core = cursor >> 32;
  return core < Core::current().cores() ? static_cast<CoreId>(core) : runtime::kNoCore;
}
// The cursor behind a step on `core`, after which the position there is `next`.
std::uint64_t cursor_after(CoreId core, std::uint64_t next) noexcept {
  if (next != 0) return cursor_of(core, next);
  const CoreId following = static_cast<CoreId>(core + 1);
  return following < Core::current().cores() ? cursor_of(following, 0) : 0;
}

}  // namespace

// --- Several keys

void Cache::multi_get(std::span<const std::string_view> keys, const ReplyTo& to) {
  if (keys.empty()) return complete(to, CacheManyGot{});
  const auto made = many_.emplace(Many{.to = to, .left = keys.size(), .done = {}});
  RT_ASSERT(made.value != nullptr);
  made.value->done.got.resize(keys.size());
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const CacheManyPlace place{.slot = made.id.slot, .index = static_cast<std::uint32_t>(i)};
    const CacheStatus status = check_key(keys[i], false);
    if (status != CacheStatus::ok) {
      CacheGot refused;
      refused.code = code_of(status);
      put(place, std::move(refused));
      continue;
    }
    const CacheKey key{keys[i], CacheTable::hash(keys[i], options_.hash_seed)};
    const CoreId owner = owner_of(key.hash);
    const CacheAsk ask{.operation = CacheOperation::get};
    if (owner == core_.id()) {
      ++counters_.here;
      put(place, got_of(apply(ask, key, {})));
      continue;
    }
    ++counters_.sent;
    CacheCall& call = calls_.take(ask, key, {}, {});
    call.many = place;
    core_.lanes().send(owner, CacheCallMessage{&call});
  }
}

// Completes the multi-get with its last key.
void Cache::put(const CacheManyPlace& place, CacheGot&& got) {
  Many& many = many_.at(place.slot);
  many.done.got[place.index] = std::move(got);
  RT_ASSERT(many.left > 0);
  if (--many.left > 0) return;
  const ReplyTo to = many.to;
  CacheManyGot done = std::move(many.done);
  many_.erase(place.slot);
  complete(to, std::move(done));
}

// --- Keys with a prefix

CacheScanned Cache::scan_here(const std::string& prefix, std::uint32_t position,
                              std::uint32_t count) {
  struct Found {
    CacheScanned scanned;
    std::size_t bytes = 0;
  } all;
  const CacheTable::Visit visit = [](void* context, std::string_view key, const CacheFound& found) {
    auto& to = *static_cast<Found*>(context);
    to.bytes += key.size() + sizeof(CacheKeyFound);
    to.scanned.keys.push_back({.key = std::string(key),
                               .version = found.version,
                               .ttl_left_ms = found.ttl_ms,
                               .value_bytes = found.bytes.size(),
                               .sliding = found.sliding});
  };
  std::uint32_t examined = 0;
  CacheWalk walk{.next = position};
  do {
    const auto wanted = static_cast<std::uint32_t>(count - all.scanned.keys.size());
    walk = table_.scan(prefix, walk.next, std::min(wanted, std::uint32_t{64}), core_.now(), visit,
                       &all);
    examined += std::max(walk.examined, std::uint32_t{8});
  } while (walk.next != 0 && all.scanned.keys.size() < count && all.bytes < kScanBytesMax &&
           examined < kWalkSteps);
  all.scanned.cursor = walk.next;
  return std::move(all.scanned);
}

Task<Result<CacheScanned>> Cache::scan(std::string prefix, std::uint64_t cursor,
                                       std::uint32_t count) {
  const CoreId core = core_of(cursor);
  if (core == runtime::kNoCore) co_return CacheScanned{};
  const auto position = static_cast<std::uint32_t>(cursor);
  const std::uint32_t keys = std::clamp(count, std::uint32_t{1}, kScanKeysMax);
  // Named: g++ 12 destroys an owning closure in a co_await expression twice.
  auto step = [prefix = std::move(prefix), position, keys]() -> Result<CacheScanned> {
    return Cache::local().scan_here(prefix, position, keys);
  };
  Result<CacheScanned> found = co_await runtime::submit_to(core, std::move(step));
  if (found) found->cursor = cursor_after(core, found->cursor);
  co_return found;
}

Task<Result<CachePrefixRemoved>> Cache::remove_prefix(std::string prefix, std::uint64_t cursor) {
  const CoreId core = core_of(cursor);
  if (core == runtime::kNoCore) co_return CachePrefixRemoved{};
  const auto position = static_cast<std::uint32_t>(cursor);
  auto step = [prefix = std::move(prefix), position]() -> Result<CachePrefixRemoved> {
    Cache& cache = Cache::local();
    // What is computed now may be of the time before the deletion.
    if (position == 0 && !cache.leases_.empty()) cache.leases_.let_go_prefix(prefix);
    const CacheWalk walk =
        cache.table_.remove_prefix(prefix, position, kWalkSteps, cache.core_.now());
    return CachePrefixRemoved{.cursor = walk.next, .removed = walk.matched};
  };
  Result<CachePrefixRemoved> removed = co_await runtime::submit_to(core, std::move(step));
  if (removed) removed->cursor = cursor_after(core, removed->cursor);
  co_return removed;
}

// --- Figures

Task<Result<CacheReport>> Cache::report() {
  CacheReport all;
  for (CoreId core = 0; core < Core::current().cores(); ++core) {
    const Result<CacheReport> one = co_await runtime::submit_to(core, []() -> Result<CacheReport> {
      const CacheTable& table = Cache::local().table_;
      CacheReport report{
          .memory_used = table.memory().used, .memory_max = table.memory().limit, .spaces = {}};
      for (std::size_t i = 0; i < table.namespaces(); ++i) {
        report.spaces.push_back(
            {.prefix = std::string(table.namespace_prefix(i)), .counters = table.counters(i)});
      }
      return report;
    });
    if (!one) co_return runtime::Unexpected{one.error()};
    all.memory_used += one->memory_used;
    all.memory_max += one->memory_max;
    if (all.spaces.empty()) {
      all.spaces = one->spaces;
      continue;
    }
    for (std::size_t i = 0; i < all.spaces.size(); ++i) {
      all.spaces[i].counters += one->spaces[i].counters;
    }
  }
  co_return all;
}

}  // namespace corelane::services
