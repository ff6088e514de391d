#include "services/cache/cache.hpp"

#include <algorithm>
#include <cstring>

#include "services/cache/messages.hpp"
#include "ws/utf8.hpp"

namespace corelane::services {

using runtime::Core;
using runtime::CoreId;
using runtime::SharedBytes;

namespace {

// Of limits.memory_bytes_max.
constexpr std::size_t kShareOfBudget = 4;

}  // namespace

Cache::ExpireTimer::ExpireTimer(Cache& owner) noexcept
    : Timer(
          [](runtime::Timer& timer) noexcept { static_cast<ExpireTimer&>(timer).cache.expire(); }),
      cache(owner) {}

CacheTable Cache::table_of(const CacheServiceOptions& options, Core& core) {
  CacheOptions table;
  if (options.memory_bytes_max != 0) {
    table.bytes_max = static_cast<std::size_t>(options.memory_bytes_max / core.cores());
  } else if (core.memory().budget() != 0) {
    table.bytes_max = core.memory().budget() / kShareOfBudget;
  }
  table.bytes_max = std::max(table.bytes_max, kCacheBytesMin);
  table.hash_seed = options.hash_seed;
  table.first_version = core.wall_now();
  table.value_bytes_max = options.value_bytes_max;
  const std::vector<CacheNamespaceOptions> namespaces = cache_namespaces(options, core.cores());
  table.namespaces = namespaces;
  return CacheTable(table);
}

Cache::Cache(const CacheServiceOptions& options)
    : options_(options),
      core_(Core::current()),
      table_(table_of(options, core_)),
      leases_(
          core_, options.hash_seed,
          [](void* cache, std::string_view key, const CacheWaiter& waiter,
             const CacheAnswer& answer) {
            static_cast<Cache*>(cache)->answer_waiter(key, waiter, answer);
          },
          this),
      many_(UINT32_MAX - 1),
      expire_timer_(*this) {
  table_.set_observer(this);
  set_local(ServiceSlot::cache, this);
}

Cache::~Cache() {
  core_.timers().cancel(expire_timer_);
  RT_ASSERT(calls_.under_way() == 0);
  set_local(ServiceSlot::cache, nullptr);
}

// --- At the asking core

// A key that was never stored is missing, whatever bytes it has.
CacheStatus Cache::check_key(std::string_view key, bool creates) const noexcept {
  if (key.empty() || key.size() > options_.key_bytes_max) return CacheStatus::key_invalid;
  if (creates && !ws::is_valid_utf8(std::as_bytes(std::span{key}))) return CacheStatus::key_invalid;
  return CacheStatus::ok;
}

void Cache::refuse(CacheOperation operation, CacheStatus status, const ReplyTo& to) {
  complete_answer(to, {.operation = operation, .code = code_of(status)});
}

void Cache::run(const CacheAsk& ask, std::string_view key, std::span<const std::byte> value,
                const ReplyTo& to) {
  const CacheKey hashed{key, CacheTable::hash(key, options_.hash_seed)};
  const CoreId owner = owner_of(hashed.hash);
  if (owner == core_.id()) {
    ++counters_.here;
    complete_answer(to, apply(ask, hashed, value));
    return;
  }
  ++counters_.sent;
  core_.lanes().send(owner, CacheCallMessage{&calls_.take(ask, hashed, value, to)});
}

void Cache::get(std::string_view key, std::uint64_t newer_than, const ReplyTo& to) {
  const CacheStatus status = check_key(key, false);
  if (status != CacheStatus::ok) return refuse(CacheOperation::get, status, to);
  run({.operation = CacheOperation::get, .version = newer_than}, key, {}, to);
}

void Cache::set(std::string_view key, std::span<const std::byte> value,
                const CacheSetOptions& options, const ReplyTo& to) {
  CacheStatus status = check_key(key, true);
  if (status == CacheStatus::ok && value.size() > options_.value_bytes_max) {
    status = CacheStatus::too_large;
  }
  if (status != CacheStatus::ok) return refuse(CacheOperation::set, status, to);
  run({.operation = CacheOperation::set,
       .condition = options.condition,
       .version = options.version,
       .lease = options.lease,
       .lifetime = options.lifetime},
      key, value, to);
}

void Cache::remove(std::string_view key, std::uint64_t version, const ReplyTo& to) {
  const CacheStatus status = check_key(key, false);
  if (status != CacheStatus::ok) return refuse(CacheOperation::remove, status, to);
  run({.operation = CacheOperation::remove, .version = version}, key, {}, to);
}

void Cache::touch(std::string_view key, const CacheLifetime& lifetime, const ReplyTo& to) {
  const CacheStatus status = check_key(key, false);
  if (status != CacheStatus::ok) return refuse(CacheOperation::touch, status, to);
  run({.operation = CacheOperation::touch, .lifetime = lifetime}, key, {}, to);
}

void Cache::increment(std::string_view key, const CacheIncrement& what, const ReplyTo& to) {
  const CacheStatus status = check_key(key, true);
  if (status != CacheStatus::ok) return refuse(CacheOperation::increment, status, to);
  run({.operation = CacheOperation::increment}, key, std::as_bytes(std::span{&what, 1}), to);
}

void Cache::append(std::string_view key, std::span<const std::byte> bytes,
                   const CacheLifetime& lifetime, const ReplyTo& to) {
  CacheStatus status = check_key(key, true);
  if (status == CacheStatus::ok && bytes.size() > options_.value_bytes_max) {
    status = CacheStatus::too_large;
  }
  if (status != CacheStatus::ok) return refuse(CacheOperation::append, status, to);
  run({.operation = CacheOperation::append, .lifetime = lifetime}, key, bytes, to);
}

void Cache::come_home(CacheCall& call) {
  CacheAnswer answer = call.answer;
  SharedBytes block;
  if (call.has_block) {
    block = SharedBytes::adopt(call.block);
    answer.block = &block;
    answer.bytes = {block.data(), call.value_bytes};
  } else {
    answer.bytes = {call.bytes.data(), call.value_bytes};
  }
  if (call.many.slot != CacheManyPlace::kNone) {
    put(call.many, got_of(answer));
  } else if (!complete_answer(call.to, answer) && answer.lease != 0 && answer.bytes.empty()) {
    // Its receiver is gone. Without a value in the answer, the key is still in the call. (With one,
    // the lease ends by its time.)
    release(call.key().bytes, answer.lease);
  }
  calls_.put_back(call);
}

// --- At the owner

CacheAnswer Cache::found(CacheOperation operation, const CacheFound& found) const noexcept {
  return {.operation = operation,
          .code = code_of(found.status),
          .sliding = found.sliding,
          .version = found.version,
          .ttl_ms = found.ttl_ms,
          .bytes = found.bytes,
          .block = found.block};
}

CacheAnswer Cache::apply_set(const CacheAsk& ask, const CacheKey& key,
                             std::span<const std::byte> value) {
  const runtime::Nanoseconds now = core_.now();
  if (ask.lease != 0 && !leases_.holds(key.bytes, ask.lease)) {
    return {.operation = CacheOperation::set,
            .code = protocol::ErrorCode::lease_lost,
            .version = table_.peek(key, now).version};
  }
  const CacheChanged changed = table_.set(
      key, value, {.condition = ask.condition, .version = ask.version, .lifetime = ask.lifetime},
      now);
  arm_expiry();
  return {.operation = CacheOperation::set,
          .code = code_of(changed.status),
          .version = changed.version};
}

CacheAnswer Cache::apply(const CacheAsk& ask, const CacheKey& key,
                         std::span<const std::byte> value) {
  const runtime::Nanoseconds now = core_.now();
  const auto changed = [&](const CacheChanged& change) -> CacheAnswer {
    return {.operation = ask.operation, .code = code_of(change.status), .version = change.version};
  };
  switch (ask.operation) {
    case CacheOperation::get:
      return found(ask.operation, table_.get(key, now, ask.version));
    case CacheOperation::set:
      return apply_set(ask, key, value);
    case CacheOperation::remove: {
      const CacheChanged removed = table_.remove(key, ask.version, now);
      // What is computed now may be of the time before the deletion.
      if (!leases_.empty() && removed.status != CacheStatus::version_mismatch) {
        leases_.let_go(key.bytes);
      }
      return changed(removed);
    }
    case CacheOperation::touch: {
      const CacheChanged touched = table_.touch(key, ask.lifetime, now);
      arm_expiry();
      return changed(touched);
    }
    case CacheOperation::increment: {
      CacheIncrement what;
      RT_ASSERT(value.size() == sizeof what);
      std::memcpy(static_cast<void*>(&what), value.data(), sizeof what);
      const CacheIncremented sum = table_.increment(key, what, now);
      arm_expiry();
      return {.operation = ask.operation,
              .code = code_of(sum.status),
              .version = sum.version,
              .number = sum.value};
    }
    case CacheOperation::append: {
      const CacheChanged appended = table_.append(key, value, ask.lifetime, now);
      arm_expiry();
      return changed(appended);
    }
    case CacheOperation::release:
      if (leases_.holds(key.bytes, ask.lease)) leases_.let_go(key.bytes);
      return {.operation = ask.operation};
    case CacheOperation::lease:
      break;
  }
  RT_ASSERT(false);  // apply_lease()
  return {};
}

void Cache::serve(CacheCall& call, CoreId from) {
  ++counters_.served;
  if (call.ask.operation != CacheOperation::lease) {
    return send_back(call, from, apply(call.ask, call.key(), call.value()));
  }
  CacheLeaseAsk how;
  RT_ASSERT(call.value_bytes == sizeof how);
  std::memcpy(static_cast<void*>(&how), call.value().data(), sizeof how);
  CacheAnswer answer;
  if (apply_lease(call.key(), how, {.call = &call, .from = from}, answer)) {
    send_back(call, from, answer);
  }
}

void Cache::send_back(CacheCall& call, CoreId from, const CacheAnswer& answer) {
  call.answer = answer;
  call.value_bytes = static_cast<std::uint32_t>(answer.bytes.size());
  if (answer.block != nullptr) {
    call.has_block = true;
    call.block = answer.block->lend();
  } else if (!answer.bytes.empty()) {
    RT_ASSERT(answer.bytes.size() <= CacheCall::kBytes);
    std::memcpy(call.bytes.data(), answer.bytes.data(), answer.bytes.size());
  }
  core_.lanes().send(from, CacheAnswerMessage{&call});
}

void CacheCallMessage::deliver(CoreId from) const {
  Cache::local().serve(*call, from);
}

void CacheAnswerMessage::deliver(CoreId) const {
  Cache::local().come_home(*call);
}

void Cache::on_change(const CacheEvent& event) noexcept {
  if (event.what == CacheChange::set && !leases_.empty()) {
    leases_.end(event.key, {.operation = CacheOperation::lease,
                            .version = event.version,
                            .bytes = event.value,
                            .block = event.block});
  }
  if (observer_ != nullptr) observer_->on_change(event);
}

// --- Expiry. An expired entry is missing at once; the timer gives its memory back.

void Cache::arm_expiry() noexcept {
  const runtime::Nanoseconds next = table_.next_expiry();
  if (next == runtime::kNever) return;
  if (expire_timer_.queued() && expire_timer_.deadline_ns <= next + kExpirePause) return;
  core_.timers().reschedule(expire_timer_, std::max(next, core_.now() + kExpirePause));
}

void Cache::expire() noexcept {
  if (table_.expire(core_.now(), kExpireSteps)) {
    core_.timers().add(expire_timer_, core_.now() + 1);  // in the next turn
  } else {
    arm_expiry();
  }
}

}  // namespace corelane::services
