#include "perf/lines/line_counter.hpp"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <map>
#include <new>
#include <utility>

#include "perf/lines/symbols.hpp"

namespace corelane::perf::lines {
namespace {

constexpr std::size_t kLines = std::size_t{1} << 16;  // a server of a test touches 2,000 to 20,000
constexpr std::size_t kEvents = 4096;                 // pairs of a function and a thread
constexpr std::size_t kSites = 64;                    // of a line; the most is about 30
constexpr std::size_t kNeighbours = 4;                // allocations on one line
constexpr std::size_t kGranule = 16;  // malloc's: what has no allocation is told apart by it
constexpr unsigned kLeftOut = kThreads;

using Clock = std::chrono::steady_clock;

class SpinLock {
 public:
  void lock() noexcept {
    while (taken_.exchange(true, std::memory_order_acquire)) __builtin_ia32_pause();
  }
  void unlock() noexcept { taken_.store(false, std::memory_order_release); }

 private:
  std::atomic<bool> taken_{false};
};

class Locked {
 public:
  explicit Locked(SpinLock& lock) noexcept : lock_(lock) { lock_.lock(); }
  ~Locked() { lock_.unlock(); }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;

 private:
  SpinLock& lock_;
};

struct Use {
  const void* site;
  std::uint64_t count;
  Event event;
  std::uint8_t thread;
};

struct Allocation {
  std::uintptr_t start = 0;
  std::size_t bytes = 0;
  const void* site = nullptr;
  unsigned thread = kOthers;
};

// Zeros are a line that nobody has touched: the tables are mapped memory.
struct LineEntry {
  std::atomic<std::uintptr_t> number;  // of the line; 0: free
  SpinLock lock;
  std::uint8_t touched;  // bits of threads
  std::uint8_t written;
  std::uint8_t holders;      // whose cache would have it now
  std::uint8_t modified_by;  // bit of the one whose cache would have it modified; 0: none
  std::uint64_t moves;
  std::uint64_t without_site;                  // accesses of sites for which there was no room
  std::array<Allocation, kNeighbours> memory;  // what was touched of the line; bytes 0: none
  std::array<Use, kSites> uses;
};

struct EventEntry {
  SpinLock lock;
  Use use;
};

struct Tables {
  std::array<LineEntry, kLines> lines;
  std::array<EventEntry, kEvents> events;
};

Tables* tables = nullptr;
std::atomic<bool> counting{false};
std::atomic<std::uint64_t> in_flight{0};
std::array<std::atomic<std::uint64_t>, kThreads> accesses{};
Clock::time_point started;
Clock::time_point stopped;
std::atomic<std::uint64_t> lost{0};

thread_local unsigned this_thread = kOthers;
// A signal's handler, or the counter's own use of memory: not counted.
thread_local bool is_inside = false;

// Scope of one count, if counting is on and this thread is not inside another scope. stop() waits
// until no thread is in a scope.
class Counting {
 public:
  Counting() noexcept {
    if (!counting.load(std::memory_order_relaxed) || this_thread == kLeftOut || is_inside) return;
    is_inside = true;
    in_flight.fetch_add(1);
    // Pairs with stop(), which stores counting and then loads in_flight.
    active_ = counting.load();
    if (!active_) leave();
  }
  ~Counting() {
    if (active_) leave();
  }
  Counting(const Counting&) = delete;
  Counting& operator=(const Counting&) = delete;
  explicit operator bool() const noexcept { return active_; }

 private:
  void leave() noexcept {
    in_flight.fetch_sub(1);
    is_inside = false;
  }
  bool active_ = false;
};

// --- Allocations

// The map's own memory comes from malloc: operator new is what it records.
template <class T>
struct Malloc {
  using value_type = T;
  Malloc() = default;
  template <class Other>
  Malloc(const Malloc<Other>&) noexcept {}
  T* allocate(std::size_t count) {
    void* const at = std::malloc(count * sizeof(T));
    if (at == nullptr) std::abort();
    return static_cast<T*>(at);
  }
  void deallocate(T* at, std::size_t) noexcept { std::free(static_cast<void*>(at)); }
  friend bool operator==(const Malloc&, const Malloc&) = default;
};
using Allocations = std::map<std::uintptr_t, Allocation, std::less<>,
                             Malloc<std::pair<const std::uintptr_t, Allocation>>>;

SpinLock allocations_lock;

// Never destroyed: memory is freed until the very end of the program.
Allocations& allocations() {
  alignas(Allocations) static std::byte memory[sizeof(Allocations)];
  static auto* const map = ::new (memory) Allocations;
  return *map;
}

// The allocation that the address is in; its granule, with no site, if it is in none.
Allocation allocation_at(std::uintptr_t address) noexcept {
  const Locked locked(allocations_lock);
  auto after = allocations().upper_bound(address);
  if (after != allocations().begin()) {
    const Allocation& before = (--after)->second;
    if (address - before.start < before.bytes) return before;
  }
  return {.start = address / kGranule * kGranule, .bytes = kGranule};
}

// --- Counting

bool count_use(std::array<Use, kSites>& uses, const Use& use) noexcept {
  for (Use& each : uses) {
    if (each.count == 0) each = use;
    if (each.site != use.site || each.event != use.event || each.thread != use.thread) continue;
    ++each.count;
    return true;
  }
  return false;
}

// Neighbours beyond kNeighbours have no name in the report.
void note_memory(std::array<Allocation, kNeighbours>& memory, std::uintptr_t address) noexcept {
  for (Allocation& each : memory) {
    if (each.bytes == 0) each = allocation_at(address);
    if (address - each.start < each.bytes) return;
  }
}

LineEntry* entry_of(std::uintptr_t number) noexcept {
  const std::size_t start = (number * 0x9e3779b97f4a7c15u) >> 48u;
  static_assert(kLines == std::size_t{1} << 16, "the shift above takes 16 bits");
  for (std::size_t i = 0; i < kLines; ++i) {
    LineEntry& entry = tables->lines[(start + i) % kLines];
    std::uintptr_t found = entry.number.load();
    if (found == 0 && entry.number.compare_exchange_strong(found, number)) return &entry;
    if (found == number) return &entry;
  }
  return nullptr;
}

// What a cache that never forgets would have to do (MESI): a read needs a copy, a write the only
// one.
void move(LineEntry& entry, unsigned bit, bool writes) noexcept {
  const bool has_it = (entry.holders & bit) != 0;
  const bool others_have_it = (entry.holders & ~bit) != 0;
  const bool others_changed_it = (entry.modified_by & ~bit) != 0;
  if (writes ? others_have_it : !has_it && others_changed_it) ++entry.moves;
  if (writes) {
    entry.holders = static_cast<std::uint8_t>(bit);
    entry.modified_by = static_cast<std::uint8_t>(bit);
  } else {
    entry.holders = static_cast<std::uint8_t>(entry.holders | bit);
    if (others_changed_it) entry.modified_by = 0;
  }
}

void record_line(std::uintptr_t at, Event event, const void* site) noexcept {
  const std::uintptr_t number = at / kLineBytes;
  LineEntry* const entry = entry_of(number);
  if (entry == nullptr) {
    lost.fetch_add(1);
    return;
  }
  const unsigned bit = 1u << this_thread;
  const bool writes = event == Event::write;
  const Locked locked(entry->lock);
  note_memory(entry->memory, at);
  entry->touched = static_cast<std::uint8_t>(entry->touched | bit);
  if (writes) entry->written = static_cast<std::uint8_t>(entry->written | bit);
  move(*entry, bit, writes);
  const Use use{
      .site = site, .count = 0, .event = event, .thread = static_cast<std::uint8_t>(this_thread)};
  if (!count_use(entry->uses, use)) ++entry->without_site;
}

void record_event(Event event, const void* site) noexcept {
  const auto key = reinterpret_cast<std::uintptr_t>(site) * kThreads + this_thread;
  const std::size_t start = (key * 0x9e3779b97f4a7c15u) >> 52u;
  static_assert(kEvents == 4096, "the shift above takes 12 bits");
  const auto thread = static_cast<std::uint8_t>(this_thread);
  for (std::size_t i = 0; i < kEvents; ++i) {
    EventEntry& entry = tables->events[(start + i) % kEvents];
    const Locked locked(entry.lock);
    Use& use = entry.use;
    if (use.count == 0) use = {.site = site, .count = 0, .event = event, .thread = thread};
    if (use.site != site || use.event != event || use.thread != thread) continue;
    ++use.count;
    return;
  }
  lost.fetch_add(1);
}

// --- The report

Site site_of(const Use& use) {
  // The call ends where it returns to; its function may end there, too.
  const auto address = reinterpret_cast<std::uintptr_t>(use.site) - 1;
  return {
      .function = symbol_at(address), .event = use.event, .thread = use.thread, .count = use.count};
}

std::string name_of(const Allocation& memory) {
  if (memory.site != nullptr) {
    // Like in site_of().
    const auto asker = reinterpret_cast<std::uintptr_t>(memory.site) - 1;
    return fmt::format("{} bytes of {}", memory.bytes, symbol_at(asker));
  }
  const std::string variable = variable_at(memory.start);
  return variable.empty() ? "memory of a stack, of a thread or mapped" : "variable " + variable;
}

std::string memory_of(const LineEntry& entry) {
  std::vector<std::string> names;
  for (const Allocation& memory : entry.memory) {
    if (memory.bytes != 0) names.push_back(name_of(memory));
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return fmt::format("{}", fmt::join(names, " beside "));
}

}  // namespace

void count_this_thread(unsigned number) noexcept {
  if (number >= kOthers) std::abort();
  this_thread = number;
}

void leave_this_thread_out() noexcept {
  this_thread = kLeftOut;
}

void start() noexcept {
  if (counting.load()) std::abort();
  if (tables != nullptr) ::munmap(static_cast<void*>(tables), sizeof(Tables));
  void* const memory = ::mmap(nullptr, sizeof(Tables), PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) std::abort();
  tables = ::new (memory) Tables;  // trivially: the kernel's zeros are what it is
  for (auto& count : accesses) count.store(0);
  lost.store(0);
  started = Clock::now();
  counting.store(true);
}

void stop() noexcept {
  counting.store(false);
  while (in_flight.load() != 0) __builtin_ia32_pause();
  stopped = Clock::now();
}

void record(const void* at, std::size_t bytes, Event event, const void* site) noexcept {
  if (bytes == 0) return;
  const Counting active;
  if (!active) return;
  accesses[this_thread].fetch_add(1, std::memory_order_relaxed);
  if (event == Event::lock) {
    record_event(event, site);
    event = Event::write;
  }
  const auto first = reinterpret_cast<std::uintptr_t>(at);
  const std::uintptr_t end = first + bytes;
  for (std::uintptr_t each = first; each < end; each = (each / kLineBytes + 1) * kLineBytes) {
    record_line(each, event, site);
  }
}

void note(Event event, const void* site) noexcept {
  const Counting active;
  if (active) record_event(event, site);
}

void allocated(const void* at, std::size_t bytes, const void* site) noexcept {
  const Locked locked(allocations_lock);
  const auto start = reinterpret_cast<std::uintptr_t>(at);
  allocations()[start] = {.start = start, .bytes = bytes, .site = site, .thread = this_thread};
}

void freed(const void* at, const void* site) noexcept {
  bool is_foreign = false;
  {
    const Locked locked(allocations_lock);
    const auto found = allocations().find(reinterpret_cast<std::uintptr_t>(at));
    if (found == allocations().end()) return;  // older than the counter
    is_foreign = found->second.thread != this_thread;
    allocations().erase(found);
  }
  if (is_foreign) note(Event::free_foreign, site);
}

std::uint64_t Report::count(Event event) const noexcept {
  std::uint64_t sum = 0;
  for (const Site& site : events) {
    if (site.event == event) sum += site.count;
  }
  return sum;
}

std::vector<const SharedLine*> Report::shared_by(unsigned threads) const {
  std::vector<const SharedLine*> found;
  for (const SharedLine& line : shared) {
    if ((line.threads & threads) == threads && (line.writers & threads) != 0) {
      found.push_back(&line);
    }
  }
  return found;
}

std::vector<Site> merged(std::vector<Site> sites) {
  std::vector<Site> result;
  for (Site& site : sites) {
    const auto same = std::find_if(result.begin(), result.end(), [&site](const Site& other) {
      return other.function == site.function && other.event == site.event &&
             other.thread == site.thread;
    });
    if (same != result.end()) {
      same->count += site.count;
    } else {
      result.push_back(std::move(site));
    }
  }
  std::sort(result.begin(), result.end(),
            [](const Site& one, const Site& other) { return one.count > other.count; });
  return result;
}

Report report() {
  Report report;
  if (tables == nullptr || counting.load()) return report;
  for (unsigned i = 0; i < kThreads; ++i) report.accesses[i] = accesses[i].load();
  report.seconds = std::chrono::duration<double>(stopped - started).count();
  report.lost = lost.load();
  for (const LineEntry& entry : tables->lines) {
    if (entry.touched == 0) continue;
    ++report.lines;
    const bool is_shared = (entry.touched & (entry.touched - 1)) != 0;
    if (!is_shared || entry.written == 0) continue;
    report.lost += entry.without_site;  // losses of unshared lines do not matter
    SharedLine line{.address = entry.number.load() * kLineBytes,
                    .memory = memory_of(entry),
                    .moves = entry.moves,
                    .threads = entry.touched,
                    .writers = entry.written,
                    .sites = {}};
    for (const Use& use : entry.uses) {
      if (use.count != 0) line.sites.push_back(site_of(use));
    }
    line.sites = merged(std::move(line.sites));
    report.shared.push_back(std::move(line));
  }
  for (const EventEntry& entry : tables->events) {
    if (entry.use.count != 0) report.events.push_back(site_of(entry.use));
  }
  report.events = merged(std::move(report.events));
  std::sort(report.shared.begin(), report.shared.end(),
            [](const SharedLine& one, const SharedLine& other) { return one.moves > other.moves; });
  return report;
}

}  // namespace corelane::perf::lines
