// corelane-cache: what the cache's table does with its memory.
//
//   corelane-cache hits [READS]        hit ratios beside LRU, redis' sampled LRU and W-TinyLFU
//   corelane-cache memory [KEYS]       bytes for each entry of 16 and 64 bytes, counted and RSS
//   corelane-cache storm [WRITES]      RSS while values of mixed sizes are written, against the
//   budget corelane-cache --check             all of it, small; fails where a promise is broken
#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "perf/cache/policies.hpp"
#include "perf/cache/trace.hpp"
#include "perf/micro/null_core.hpp"
#include "services/cache/table.hpp"

namespace corelane::perf {
namespace {

using services::CacheKey;
using services::CacheOptions;
using services::CacheStatus;
using services::CacheTable;

constexpr std::size_t kMiB = 1024 * 1024;
constexpr runtime::Nanoseconds kNow = runtime::kSecond;
// used_memory of redis-server 7.0.15 for each of a million keys of 16 bytes with values of 64.
constexpr double kRedisEntryBytes = 168.5;

std::string_view name_of(std::uint32_t key, std::array<char, 17>& text) {
  fmt::format_to_n(text.data(), text.size(), "key:{:012}", key);
  return {text.data(), 16};
}

std::span<const std::byte> value_of(std::size_t bytes) {
  static const std::vector<std::byte> kValue(services::kCacheValueBytesMax, std::byte{'v'});
  return std::span(kValue).first(bytes);
}

std::size_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::size_t pages = 0;
  std::size_t resident = 0;
  statm >> pages >> resident;
  return resident * 4096;
}

class Ours final : public Policy {
 public:
  explicit Ours(std::size_t bytes) : table_(options(bytes)) {}
  bool read(std::uint32_t key) override {
    std::array<char, 17> text{};
    const CacheKey named = table_.key(name_of(key, text));
    if (table_.get(named, kNow).status == CacheStatus::ok) return true;
    table_.set(named, value_of(64), {}, kNow);
    return false;
  }
  std::size_t entries() const noexcept { return table_.size(); }

 private:
  static CacheOptions options(std::size_t bytes) {
    CacheOptions options;
    options.bytes_max = bytes;
    return options;
  }
  CacheTable table_;
};

double hit_ratio(Policy& policy, const TraceOptions& options, std::uint64_t reads) {
  Trace trace(options);
  // The first quarter fills it.
  for (std::uint64_t i = 0; i < reads / 4; ++i) policy.read(trace.next());
  std::uint64_t hits = 0;
  for (std::uint64_t i = 0; i < reads; ++i) hits += policy.read(trace.next()) ? 1 : 0;
  return static_cast<double>(hits) / static_cast<double>(reads);
}

struct NamedTrace {
  std::string_view name;
  TraceOptions options;
};

// Prints a row for each trace and size; false: ours is not above the sampled LRU somewhere.
bool hits(std::uint32_t keys, std::uint64_t reads) {
  const std::vector<NamedTrace> traces{
      {"zipf 0.99", {.keys = keys}},
      {"zipf 0.99 with scans",
       {.keys = keys, .draws_between_scans = keys / 5, .scan_keys = keys / 10}},
      {"zipf 0.99 that moves", {.keys = keys, .draws_between_shifts = keys / 2}},
      {"zipf 0.99 that moves, with scans",
       {.keys = keys,
        .draws_between_scans = keys / 5,
        .scan_keys = keys / 10,
        .draws_between_shifts = keys / 2}},
  };
  fmt::print("{} keys of 16 bytes, values of 64, {} reads; misses are written\n", keys, reads);
  fmt::print("{:<34}{:>9}{:>9} | {:>9}{:>9}{:>9}{:>9} | {:>9}\n", "trace", "budget", "entries",
             "ours", "lru", "redis", "tinylfu", "redis mem");
  bool is_above = true;
  for (const NamedTrace& trace : traces) {
    const auto percents =
        keys < 100'000 ? std::vector<std::size_t>{20, 50} : std::vector<std::size_t>{1, 5, 20};
    for (const std::size_t percent : percents) {
      const std::size_t bytes =
          std::max<std::size_t>(keys / 100 * percent * 120, services::kCacheBytesMin);
      Ours ours(bytes);
      const double own = hit_ratio(ours, trace.options, reads);
      const std::size_t entries = ours.entries();
      Lru lru(entries);
      SampledLru sampled(entries);
      TinyLfu lfu(entries);
      SampledLru redis(static_cast<std::size_t>(static_cast<double>(bytes) / kRedisEntryBytes));
      const double by_redis = hit_ratio(redis, trace.options, reads);
      const double by_sampled = hit_ratio(sampled, trace.options, reads);
      fmt::print("{:<34}{:>8}K{:>9} | {:>9.4f}{:>9.4f}{:>9.4f}{:>9.4f} | {:>9.4f}\n", trace.name,
                 bytes / 1024, entries, own, hit_ratio(lru, trace.options, reads), by_sampled,
                 hit_ratio(lfu, trace.options, reads), by_redis);
      std::fflush(stdout);
      if (own <= by_redis) is_above = false;
    }
  }
  return is_above;
}

bool memory(std::uint32_t keys) {
  CacheOptions options;
  options.bytes_max = std::size_t{keys} * 200 + 4 * kMiB;
  value_of(64);
  const std::size_t before = resident_bytes();
  CacheTable table(options);
  for (std::uint32_t key = 0; key < keys; ++key) {
    std::array<char, 17> text{};
    table.set(table.key(name_of(key, text)), value_of(64), {}, kNow);
  }
  const double counted = static_cast<double>(table.memory().used) / keys;
  const double resident = static_cast<double>(resident_bytes() - before) / keys;
  fmt::print(
      "{} entries of 16 and 64 bytes: {:.1f} bytes each counted, {:.1f} resident; redis {}\n",
      table.size(), counted, resident, kRedisEntryBytes);
  const CacheTable::Memory parts = table.memory();
  fmt::print("  pages {:.1f}, index {:.1f}, ghosts {:.1f}\n",
             static_cast<double>(parts.pages) / keys, static_cast<double>(parts.index) / keys,
             static_cast<double>(parts.ghosts) / keys);
  return counted <= 0.8 * kRedisEntryBytes;
}

// Sizes from a few bytes to 256 KiB, whose mix changes, at four times the budget of keys; some of
// the large values are held by readers for a while.
bool storm(std::uint64_t writes, std::size_t budget) {
  value_of(1);
  const std::size_t before = resident_bytes();
  CacheOptions options;
  options.bytes_max = budget;
  CacheTable table(options);
  runtime::Random random(kSeed);
  std::vector<runtime::SharedBytes> readers(8);
  std::size_t most = 0;
  std::size_t most_counted = 0;
  std::uint64_t written = 0;
  const auto keys = static_cast<std::uint32_t>(4 * budget / 2048);
  for (std::uint64_t i = 0; i < writes; ++i) {
    // The mix goes on every 50,000 writes: small ones alone, large ones among them, all.
    const std::uint64_t phase = i / 50'000 % 3;
    std::size_t bytes = random.below(200);
    if (phase > 0 && random.below(4) == 0) bytes = random.below(4000);
    if (phase > 1 && random.below(50) == 0) bytes = random.below(256 * 1024);
    std::array<char, 17> text{};
    const CacheKey key = table.key(name_of(static_cast<std::uint32_t>(random.below(keys)), text));
    if (table.set(key, value_of(bytes), {}, kNow).status == CacheStatus::ok) ++written;
    if (bytes > services::kCacheInlineBytesMax && random.below(8) == 0) {
      const services::CacheFound found = table.get(key, kNow);
      if (found.block != nullptr) readers[random.below(readers.size())] = found.block->share();
    }
    if (i % 10'000 != 0) continue;
    const std::size_t resident = resident_bytes();
    most = std::max(most, resident > before ? resident - before : 0);
    most_counted = std::max(most_counted, table.memory().used);
  }
  fmt::print(
      "{} of {} writes, budget {:.1f} MiB: counted up to {:.1f} MiB, resident up to {:.1f}\n",
      written, writes, static_cast<double>(budget) / kMiB, static_cast<double>(most_counted) / kMiB,
      static_cast<double>(most) / kMiB);
  return most_counted <= budget && most <= budget + budget / 20 + 2 * kMiB;
}

std::uint64_t number_or(int argc, char** argv, std::uint64_t fallback) {
  if (argc < 3) return fallback;
  std::uint64_t number = fallback;
  std::from_chars(argv[2], argv[2] + std::strlen(argv[2]), number);
  return number;
}

// TAP, for the test suite.
int check() {
  int failed = 0;
  int number = 0;
  const auto report = [&](bool is_ok, std::string_view what) {
    fmt::print("{}ok {} - {}\n", is_ok ? "" : "not ", ++number, what);
    if (!is_ok) ++failed;
  };
  fmt::print("1..3\n");
  report(hits(20'000, 400'000), "hit ratios are above redis' at the same memory");
  report(memory(200'000), "an entry takes at most 0.8 of redis'");
  report(storm(400'000, 32 * kMiB), "a storm of writes stays within the budget");
  return failed == 0 ? 0 : 1;
}

int run(int argc, char** argv) {
  NullCore core;
  const std::string_view command = argc > 1 ? argv[1] : "";
  if (command == "--check") return check();
  if (command == "hits") return hits(1'000'000, number_or(argc, argv, 20'000'000)) ? 0 : 1;
  if (command == "memory") {
    return memory(static_cast<std::uint32_t>(number_or(argc, argv, 1'000'000))) ? 0 : 1;
  }
  if (command == "storm") return storm(number_or(argc, argv, 20'000'000), 256 * kMiB) ? 0 : 1;
  fmt::print(stderr, "corelane-cache hits [READS] | memory [KEYS] | storm [WRITES] | --check\n");
  return 2;
}

}  // namespace
}  // namespace corelane::perf

int main(int argc, char** argv) {
  return corelane::perf::run(argc, argv);
}
