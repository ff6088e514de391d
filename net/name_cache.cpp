#include "net/name_cache.hpp"

#include <netdb.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "runtime/blocking.hpp"
#include "runtime/wait_queue.hpp"

namespace corelane::net {

using runtime::Address;
using runtime::Core;
using runtime::ErrorCode;
using runtime::Nanoseconds;
using runtime::Result;
using runtime::Task;
using runtime::WaitQueue;

namespace {

// Those of the cores of this thread: one, but in a simulation one for each core.
thread_local std::vector<std::pair<const Core*, NameCache*>> caches_of_thread;

// Case does not count in DNS (RFC 4343), which knows ASCII alone.
std::string lower_case(std::string name) {
  for (char& letter : name) {
    if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
  }
  return name;
}

bool is_denial(int error) noexcept {
  return error == EAI_NONAME || error == EAI_NODATA || error == EAI_ADDRFAMILY;
}

}  // namespace

struct NameCache::Entry {
  explicit Entry(std::string its_name) : name(std::move(its_name)) {}

  const std::string name;
  bool is_known = false;
  Nanoseconds until = 0;
  std::vector<Address> addresses;
  runtime::Error error;  // if there are no addresses
  std::exception_ptr thrown;
  WaitQueue waiting{"the name service"};
  std::list<Entry*>::iterator place;  // in by_use_, of a known one that is kept
};

NameCache& NameCache::local(const NameCacheOptions& options) {
  Core& core = Core::current();
  for (const auto& [of, cache] : caches_of_thread) {
    if (of == &core) return *cache;
  }
  core.adopt(std::unique_ptr<NameCache>(new NameCache(core, options)));
  return *caches_of_thread.back().second;
}

NameCache::NameCache(const Core& core, const NameCacheOptions& options) : options_(options) {
  caches_of_thread.emplace_back(&core, this);
}

NameCache::~NameCache() {
  std::erase_if(caches_of_thread, [this](const auto& one) { return one.second == this; });
}

void NameCache::begin_stop() noexcept {
  stopping_ = true;
  group_.cancel();
}

Task<Result<std::vector<Address>>> NameCache::resolve(std::string name, std::uint16_t port) {
  std::vector<Address> addresses;
  if (const auto known = address_in(name)) {
    addresses.push_back(*known);
  } else {
    auto found = find_or_ask(lower_case(std::move(name)));
    if (!found) co_return runtime::Unexpected{found.error()};
    const EntryPointer entry = std::move(*found);
    if (!entry->is_known) {
      WaitQueue::Waiter waiter{entry->waiting};
      const WaitQueue::Outcome outcome = co_await waiter;
      if (outcome == WaitQueue::Outcome::cancelled) co_return runtime::fail(ErrorCode::cancelled);
    }
    if (entry->thrown) std::rethrow_exception(entry->thrown);
    if (entry->addresses.empty()) co_return runtime::Unexpected{entry->error};
    addresses = entry->addresses;
  }
  for (Address& address : addresses) address.set_port(port);
  co_return addresses;
}

Result<NameCache::EntryPointer> NameCache::find_or_ask(std::string name) {
  if (name.size() > kNameBytesMax || name.find('\0') != std::string::npos) {
    return runtime::fail(ErrorCode::invalid_argument, EAI_NONAME);
  }
  if (const auto found = entries_.find(name); found != entries_.end()) {
    const EntryPointer entry = found->second;
    if (!entry->is_known) {
      ++counters_.joined;
      return entry;
    }
    if (Core::current().now() < entry->until) {
      ++(entry->addresses.empty() ? counters_.denial_hits : counters_.hits);
      by_use_.splice(by_use_.begin(), by_use_, entry->place);
      return entry;
    }
    ++counters_.expired;
    drop(*entry);
  }
  if (stopping_) return runtime::fail(ErrorCode::cancelled);
  if (in_flight() >= options_.lookups_max) {
    ++counters_.refused;
    return runtime::fail(ErrorCode::limit_exceeded,
                         static_cast<std::int32_t>(options_.lookups_max));
  }
  ++counters_.lookups;
  auto entry = std::make_shared<Entry>(name);  // tidy: allow banned_call: within one core
  entries_.emplace(std::move(name), entry);
  group_.spawn("resolve", look_up, this, entry);
  return entry;
}

Task<void> NameCache::look_up(NameCache* cache, EntryPointer entry) {
  Result<NameAnswer> answer = runtime::fail(ErrorCode::cancelled);
  try {
    // A function that blocks owns what it uses: it may run on when nobody waits any more.
    auto ask = [name = entry->name, by = cache->options_.resolver]() -> Result<NameAnswer> {
      return by(name);
    };
    answer = co_await runtime::blocking(std::move(ask));
  } catch (...) {
    entry->thrown = std::current_exception();
  }
  cache->finish(entry, std::move(answer));
}

void NameCache::finish(const EntryPointer& entry, Result<NameAnswer> answer) {
  Nanoseconds life = 0;
  if (!answer) {
    entry->error = answer.error();
  } else if (answer->error == EAI_SYSTEM) {
    entry->error = runtime::Error::from_errno(answer->system_error);
  } else {
    entry->error = {ErrorCode::invalid_argument, answer->error != 0 ? answer->error : EAI_NONAME};
    life = life_of(*answer);
    entry->addresses = std::move(answer->addresses);
    if (entry->addresses.size() > kAddressesKept) entry->addresses.resize(kAddressesKept);
  }
  if (entry->addresses.empty() && !is_denial(entry->error.detail)) ++counters_.failed;
  entry->is_known = true;
  entry->waiting.wake_all(WaitQueue::Outcome::granted);
  // After flush() the name is another entry's, or nobody's.
  const auto found = entries_.find(entry->name);
  if (found == entries_.end() || found->second != entry) return;
  if (life <= 0) {
    entries_.erase(found);
    return;
  }
  try {
    keep(*entry, life);
  } catch (...) {
    entries_.erase(entry->name);  // it has no place among those that are kept
    throw;
  }
}

Nanoseconds NameCache::life_of(const NameAnswer& answer) const noexcept {
  if (answer.addresses.empty()) {
    // RFC 2308 section 5: a denial that does not tell its time to live should not be kept; nor is
    // no answer at all one.
    if (!is_denial(answer.error) || !answer.time_to_live) return 0;
    return std::min(*answer.time_to_live, options_.denial_max.nanoseconds());
  }
  if (!answer.time_to_live) return options_.time_to_live_unknown.nanoseconds();
  const Nanoseconds most = options_.time_to_live_max.nanoseconds();
  return std::min(std::max(*answer.time_to_live, options_.time_to_live_min.nanoseconds()), most);
}

void NameCache::keep(Entry& entry, Nanoseconds life) {
  entry.until = runtime::after(Core::current().now(), life);
  by_use_.push_front(&entry);
  entry.place = by_use_.begin();
  while (by_use_.size() > options_.names_max) {
    ++counters_.evicted;
    drop(*by_use_.back());
  }
}

void NameCache::drop(Entry& entry) noexcept {
  by_use_.erase(entry.place);
  entries_.erase(entries_.find(entry.name));
}

void NameCache::flush() noexcept {
  by_use_.clear();
  entries_.clear();
}

bool NameCache::forget(std::string name) {
  const auto found = entries_.find(lower_case(std::move(name)));
  if (found == entries_.end()) return false;
  if (found->second->is_known) by_use_.erase(found->second->place);
  entries_.erase(found);
  return true;
}

}  // namespace corelane::net
