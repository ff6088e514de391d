// The cache's table: reading a key that is there and one that is not, and writing: over an old
// value, and into a table that is full.

#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include "perf/micro/null_core.hpp"
#include "perf/micro/workload.hpp"
#include "runtime/random.hpp"
#include "services/cache/table.hpp"

namespace corelane::perf {
namespace {

using services::CacheTable;

constexpr runtime::Nanoseconds kNow = runtime::kSecond;

class FilledCache : public Workload {
 public:
  FilledCache(std::size_t keys, std::size_t bytes) : value_(bytes, std::byte{'v'}) {
    services::CacheOptions options;
    options.bytes_max = 2 * services::kCacheBytesMin + keys * (bytes + bytes / 2 + 200);
    options.hash_seed = kSeed;
    table_ = std::make_unique<CacheTable>(options);
    for (std::size_t i = 0; i < keys; ++i) names_.push_back(fmt::format("key:{:012}", i));
    runtime::Random random(kSeed);
    for (std::size_t i = keys; i > 1; --i) std::swap(names_[i - 1], names_[random.below(i)]);
    for (const std::string& name : names_) write(name);
  }

 protected:
  std::uint64_t write(const std::string& name) {
    return table_->set(table_->key(name), value_, {}, kNow).version;
  }
  const std::string& next() noexcept {
    if (at_ == names_.size()) at_ = 0;
    return names_[at_++];
  }

  NullCore core_;
  std::vector<std::byte> value_;
  std::unique_ptr<CacheTable> table_;
  std::vector<std::string> names_;  // in random order
  std::size_t at_ = 0;
};

class GetHit final : public FilledCache {
 public:
  using FilledCache::FilledCache;
  std::uint64_t run(std::uint64_t operations) override {
    std::uint64_t sum = 0;
    for (std::uint64_t i = 0; i < operations; ++i) {
      sum += table_->get(table_->key(next()), kNow).bytes.size();
    }
    return sum;
  }
};

class GetMiss final : public FilledCache {
 public:
  GetMiss(std::size_t keys, std::size_t bytes) : FilledCache(keys, bytes) {
    for (std::string& name : names_) name[0] = 'n';
  }
  std::uint64_t run(std::uint64_t operations) override {
    const std::uint64_t before = table_->counters().misses;
    for (std::uint64_t i = 0; i < operations; ++i) {
      const auto found = table_->get(table_->key(next()), kNow);
      if (found.status != services::CacheStatus::missing) return 0;
    }
    return table_->counters().misses - before;
  }
};

class SetOver final : public FilledCache {
 public:
  using FilledCache::FilledCache;
  std::uint64_t run(std::uint64_t operations) override {
    const std::uint64_t before = table_->last_version();
    for (std::uint64_t i = 0; i < operations; ++i) write(next());
    return table_->last_version() - before;
  }
};

// Each write is of a new key and evicts another.
class SetEvict final : public FilledCache {
 public:
  SetEvict(std::size_t keys, std::size_t bytes) : FilledCache(keys, bytes) {
    table_->set_bytes_max(std::max(table_->memory().used, services::kCacheBytesMin));
  }
  std::uint64_t run(std::uint64_t operations) override {
    const std::uint64_t before = table_->last_version();
    std::string name = names_.front();
    for (std::uint64_t i = 0; i < operations; ++i) {
      fmt::format_to_n(name.begin(), name.size(), "new:{:012}", ++number_);
      write(name);
    }
    return table_->last_version() - before;
  }

 private:
  std::uint64_t number_ = 0;
};

class Expire final : public FilledCache {
 public:
  using FilledCache::FilledCache;
  // Sets a key that expires in the next ms, and expires it.
  std::uint64_t run(std::uint64_t operations) override {
    const std::uint64_t before = table_->counters().expired;
    for (std::uint64_t i = 0; i < operations; ++i) {
      table_->set(table_->key(next()), value_,
                  {.lifetime = {.kind = services::CacheLifetime::Kind::span, .ms = 1}}, now_);
      now_ += runtime::kMillisecond;
      table_->expire(now_, 10);
    }
    return table_->counters().expired - before;
  }

 private:
  runtime::Nanoseconds now_ = kNow;
};

}  // namespace

void add_cache_cases(Cases& cases) {
  for (const std::size_t keys : {1000u, 1'000'000u}) {
    for (const std::size_t bytes : {64u, 4096u}) {
      const bool small = keys <= 1000;
      if (!small && bytes > 64) continue;
      const std::string parameters = fmt::format("/keys:{}/bytes:{}", keys, bytes);
      const auto options = [&](std::string_view operation) {
        return CaseOptions{.name = fmt::format("cache/{}{}", operation, parameters),
                           .bytes = bytes,
                           .counted = small ? 10'000u : 0u,
                           .is_small = small};
      };
      cases.add<GetHit>(options("get_hit"), keys, bytes);
      cases.add<GetMiss>(options("get_miss"), keys, bytes);
      cases.add<SetOver>(options("set_over"), keys, bytes);
      cases.add<SetEvict>(options("set_evict"), keys, bytes);
      cases.add<Expire>(options("set_expire"), keys, bytes);
    }
  }
}

}  // namespace corelane::perf
