#pragma once
// NameCache: what the name service has answered, for as long as it holds (RFC 1035, RFC 2308). One
// a core, from its first use to the core's end; net::resolve() and everything that connects by name
// uses it unless it is given a resolver of its own.
//
//   net::NameCache::local({.time_to_live_max = std::chrono::minutes(1)});   // before other uses
//   auto stream = co_await net::connect("example.org", 80);
//   net::NameCache::local().flush();                                        // the network changed
//
// One lookup of a name is in flight at a time: further callers wait for it, and it goes on when all
// of them have given up. Kept are addresses, and denials (the name, or an address of it, does not
// exist) that say how long they hold. Failures of the name service are not kept.

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "net/resolve.hpp"
#include "runtime/address.hpp"
#include "runtime/core.hpp"
#include "runtime/duration.hpp"
#include "runtime/result.hpp"
#include "runtime/task.hpp"
#include "runtime/task_group.hpp"
#include "runtime/types.hpp"

namespace corelane::net {

struct NameCacheOptions {
  Resolver resolver = ask_with_time_to_live;
  // Names that are kept; beyond, the one that was asked for longest ago goes. 0: nothing is kept.
  std::size_t names_max = 1024;
  // Lookups in flight. The pool of runtime::blocking runs a few at a time; the others wait in it.
  std::size_t lookups_max = 256;
  // Bounds of the time to live of addresses.
  runtime::Duration time_to_live_min{0 * runtime::kSecond};
  runtime::Duration time_to_live_max{3600 * runtime::kSecond};
  // Of addresses whose answer tells none, those of /etc/hosts for example.
  runtime::Duration time_to_live_unknown{10 * runtime::kSecond};
  // The upper bound of how long a denial is kept. RFC 2308 section 5: one to three hours work well;
  // the default is shorter, because a name that is being set up is asked for too early.
  runtime::Duration denial_max{60 * runtime::kSecond};
};

class NameCache final : public runtime::CoreResident {
 public:
  // Of this core. The options are those of the first call.
  static NameCache& local(const NameCacheOptions& options = {});
  ~NameCache() override;

  // As net::resolve(). A name is at most 255 bytes long; upper and lower case are one. At most
  // kAddressesKept addresses are given. An exception of the resolver reaches all that wait for it.
  // Error also: limit_exceeded: lookups_max lookups are in flight.
  runtime::Task<runtime::Result<std::vector<runtime::Address>>> resolve(std::string name,
                                                                        std::uint16_t port);
  // Forgets all names, or one (true: it was known or being looked up). Callers that wait for an
  // answer still get it; it is not kept, and callers from now on ask again.
  void flush() noexcept;
  bool forget(std::string name);

  static constexpr std::size_t kNameBytesMax = 255;
  // Of one name: bounds the memory of the cache (136 bytes each).
  static constexpr std::size_t kAddressesKept = 256;

  struct Counters {
    std::uint64_t hits = 0;         // addresses that were known
    std::uint64_t denial_hits = 0;  // known not to exist
    std::uint64_t lookups = 0;      // begun
    std::uint64_t joined = 0;       // callers that waited for another's lookup
    std::uint64_t failed = 0;       // lookups whose answer was no answer
    std::uint64_t expired = 0;      // names that were asked for after their time
    std::uint64_t evicted = 0;      // by names_max
    std::uint64_t refused = 0;      // by lookups_max
  };
  const Counters& counters() const noexcept { return counters_; }
  std::size_t names() const noexcept { return by_use_.size(); }        // kept
  std::size_t in_flight() const noexcept { return group_.running(); }  // lookups

  // --- For the core
  void begin_stop() noexcept override;
  bool at_rest() const noexcept override { return group_.running() == 0; }

 private:
  NameCache(const runtime::Core& core, const NameCacheOptions& options);
  struct Entry;
  // Held by the cache, the lookup and the callers that wait, whichever lets go last.
  using EntryPointer = std::shared_ptr<Entry>;  // tidy: allow banned_call: within one core

  static runtime::Task<void> look_up(NameCache* cache, EntryPointer entry);
  // What is known of the name or being looked up; a lookup is begun if there is neither.
  runtime::Result<EntryPointer> find_or_ask(std::string name);
  void finish(const EntryPointer& entry, runtime::Result<NameAnswer> answer);
  runtime::Nanoseconds life_of(const NameAnswer& answer) const noexcept;
  void keep(Entry& entry, runtime::Nanoseconds life);
  void drop(Entry& entry) noexcept;

  NameCacheOptions options_;
  std::unordered_map<std::string, EntryPointer> entries_;  // known and in flight, by lower case
  std::list<Entry*> by_use_;                               // the known ones, the last used first
  bool stopping_ = false;
  Counters counters_;
  runtime::TaskGroup group_{"names", nullptr};
};

}  // namespace corelane::net
