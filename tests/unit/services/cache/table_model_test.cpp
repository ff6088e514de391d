// Goal: a cache table does what a map of values with versions and times would do, whatever its
// operations, sizes, budget and time come to; and it never holds more than its budget. Method:
// random operations over seeds, each compared with a plain model, which learns from the observer
// what was evicted; then the whole content is compared by a scan.
#include <gtest/gtest.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "runtime/sim/world.hpp"
#include "services/cache/table.hpp"
#include "tests/support/on_cores.hpp"
#include "tests/support/prng.hpp"

namespace corelane {
namespace {

using namespace services;
using runtime::kMillisecond;
using runtime::Nanoseconds;
using runtime::SharedBytes;
using runtime::Task;
using tests::Prng;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}
std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class Walk final : public CacheObserver {
 public:
  explicit Walk(std::uint64_t seed) : prng_(seed), options_(options_of(prng_)), table_(options_) {
    table_.set_observer(this);
    keys_ = 20 + prng_.below(400);
    large_of_8_ = prng_.below(4);
  }

  void run(std::size_t steps) {
    for (std::size_t i = 0; i < steps && !testing::Test::HasFailure(); ++i) {
      step();
      ASSERT_LE(table_.memory().used, table_.memory().limit);
      if (i % 200 == 0) compare();
    }
    compare();
    empty_it();
  }

 private:
  struct Value {
    std::string bytes;
    std::uint64_t version = 0;
    std::uint64_t expires_ms = 0;  // 0: never
    std::uint64_t span_ms = 0;     // sliding
  };
  struct Held {
    SharedBytes block;
    std::string bytes;
  };

  static inline const std::vector<CacheNamespaceOptions> kSpaces{
      {.prefix = "a", .bytes_max = 100'000, .default_ttl_ms = 0},
      {.prefix = "ab", .bytes_max = 0, .default_ttl_ms = 300},
  };
  static CacheOptions options_of(Prng& prng) {
    CacheOptions options;
    options.bytes_max = kCacheBytesMin << prng.below(7);
    options.hash_seed = prng.next();
    options.first_version = 1000;
    if (prng.below(2) == 0) options.namespaces = kSpaces;
    return options;
  }

  void on_change(const CacheEvent& event) noexcept override {
    const std::string key(event.key);
    const auto at = model_.find(key);
    switch (event.what) {
      case CacheChange::set:
        ++sets_;
        break;
      case CacheChange::deleted:
        ++deletes_;
        break;
      case CacheChange::expired:
        ASSERT_TRUE(at != model_.end());
        EXPECT_NE(at->second.expires_ms, 0u);
        EXPECT_LE(at->second.expires_ms, now_ms());
        EXPECT_EQ(at->second.version, event.version);
        model_.erase(at);
        break;
      case CacheChange::evicted:
        ASSERT_TRUE(at != model_.end());
        EXPECT_EQ(at->second.version, event.version);
        EXPECT_NE(key, busy_key_);
        model_.erase(at);
        break;
    }
  }

  std::uint64_t now_ms() const { return static_cast<std::uint64_t>(now_ / kMillisecond); }
  bool has_spaces() const { return table_.namespaces() > 1; }

  std::string any_key() {
    const std::uint64_t number = prng_.below(keys_);
    const char* const prefixes[] = {"a", "ab", "b", "abc", ""};
    std::string key = prefixes[number % 5] + std::to_string(number);
    if (number % 17 == 0) key.append(number % kCacheKeyBytesMax / 2, 'x');
    return key;
  }
  std::string any_value() {
    std::size_t size = prng_.below(150);
    if (prng_.below(4) == 0) size = prng_.below(1200);
    if (prng_.below(8) < large_of_8_) size = prng_.below(20'000);
    if (prng_.below(500) == 0) size = kCacheValueBytesMax + prng_.below(2);
    std::string value(size, static_cast<char>('a' + prng_.below(26)));
    if (prng_.below(5) == 0) {
      value = std::to_string(static_cast<std::int64_t>(prng_.next() >> prng_.below(64)));
    }
    return value;
  }
  CacheLifetime any_lifetime() {
    switch (prng_.below(6)) {
      case 0:
        return {.kind = CacheLifetime::Kind::none};
      case 1:
        return {.kind = CacheLifetime::Kind::keep};
      case 2:
        return {.kind = CacheLifetime::Kind::of_namespace};
      default:
        return {
            .kind = CacheLifetime::Kind::span,
            .sliding = prng_.below(3) == 0,
            .ms = prng_.below(20) == 0 ? prng_.next() >> prng_.below(60) : 1 + prng_.below(5000)};
    }
  }
  // The model's value that has not expired.
  Value* live(const std::string& key) {
    const auto at = model_.find(key);
    if (at == model_.end()) return nullptr;
    Value& value = at->second;
    return value.expires_ms != 0 && value.expires_ms <= now_ms() ? nullptr : &value;
  }
  void live_by(Value& value, const std::string& key, const CacheLifetime& lifetime, bool is_new) {
    using Kind = CacheLifetime::Kind;
    if (lifetime.kind == Kind::keep && !is_new) return;
    std::uint64_t ms = lifetime.kind == Kind::span ? lifetime.ms : 0;
    if (lifetime.kind == Kind::of_namespace || lifetime.kind == Kind::keep) {
      ms = has_spaces() && key.starts_with("ab") ? 300 : 0;
    }
    ms = std::min(ms, kCacheLifetimeMsMax);
    value.expires_ms = ms == 0 ? 0 : static_cast<std::uint64_t>((now_ + 999'999) / 1'000'000) + ms;
    value.span_ms = lifetime.kind == Kind::span && lifetime.sliding ? ms : 0;
  }

  void check(const CacheFound& found, const Value* value) {
    if (value == nullptr) {
      EXPECT_EQ(found.status, CacheStatus::missing);
      return;
    }
    ASSERT_EQ(found.status, CacheStatus::ok);
    EXPECT_EQ(found.version, value->version);
    EXPECT_TRUE(text_of(found.bytes) == value->bytes);
    EXPECT_EQ(found.sliding, value->span_ms != 0);
    if (value->expires_ms == 0) {
      EXPECT_EQ(found.ttl_ms, 0u);
    } else {
      const auto left =
          (static_cast<Nanoseconds>(value->expires_ms) * kMillisecond - now_) / kMillisecond;
      EXPECT_EQ(found.ttl_ms, static_cast<std::uint64_t>(std::max<Nanoseconds>(left, 1)));
    }
    EXPECT_EQ(found.block != nullptr, value->bytes.size() > kCacheInlineBytesMax);
    if (found.block == nullptr) return;
    EXPECT_EQ(found.block->capacity() % 8, 0u);
    for (std::size_t i = value->bytes.size(); i < found.block->capacity(); ++i) {
      EXPECT_EQ(found.block->data()[i], std::byte{0});
    }
    if (prng_.below(4) == 0 && held_.size() < 20) {
      held_.push_back({found.block->share(), value->bytes});
    }
  }

  void step() {
    if (prng_.below(3) == 0) now_ += static_cast<Nanoseconds>(prng_.below(40 * 1'000'000));
    if (prng_.below(300) == 0) now_ += static_cast<Nanoseconds>(prng_.below(100'000) * 1'000'000);
    if (!held_.empty() && prng_.below(6) == 0) let_go(prng_.below(held_.size()));
    const std::string key = any_key();
    busy_key_ = key;
    switch (prng_.below(16)) {
      case 0:
      case 1:
      case 2:
      case 3:
        get(key);
        break;
      case 4:
      case 5:
      case 6:
      case 7:
      case 8:
        set(key);
        break;
      case 9:
        remove(key);
        break;
      case 10:
        touch(key);
        break;
      case 11:
        increment(key);
        break;
      case 12:
        append(key);
        break;
      case 13:
        expire();
        break;
      case 14:
        check(table_.peek(table_.key(key), now_), live(key));
        break;
      default:
        if (prng_.below(20) == 0) remove_prefix();
        break;
    }
    busy_key_.clear();
  }

  void let_go(std::size_t index) {
    EXPECT_EQ(std::memcmp(held_[index].block.data(), held_[index].bytes.data(),
                          held_[index].bytes.size()),
              0);
    std::swap(held_[index], held_.back());
    held_.pop_back();
  }

  void get(const std::string& key) {
    Value* const value = live(key);
    const std::uint64_t newer_than =
        value != nullptr && prng_.below(4) == 0 ? value->version - prng_.below(2) : 0;
    const bool slides = value != nullptr && value->span_ms != 0;
    if (slides) value->expires_ms = now_ms() + value->span_ms;
    const CacheFound found = table_.get(table_.key(key), now_, newer_than);
    if (value != nullptr && value->version <= newer_than) {
      EXPECT_EQ(found.status, CacheStatus::not_modified);
      EXPECT_EQ(found.version, value->version);
      return;
    }
    check(found, value);
  }

  void set(const std::string& key) {
    Value* const value = live(key);
    CacheTable::SetOptions options{.condition = static_cast<CacheCondition>(prng_.below(4)),
                                   .version = 0,
                                   .lifetime = any_lifetime()};
    if (prng_.below(2) == 0) options.condition = CacheCondition::none;
    options.version = value != nullptr ? value->version + prng_.below(2) : 77;
    const std::string bytes = any_value();
    const CacheChanged changed = table_.set(table_.key(key), bytes_of(bytes), options, now_);
    std::optional<CacheStatus> refusal;
    if (options.condition == CacheCondition::create_only && value != nullptr) {
      refusal = CacheStatus::exists;
    }
    if (options.condition == CacheCondition::replace_only && value == nullptr) {
      refusal = CacheStatus::missing;
    }
    if (options.condition == CacheCondition::if_version) {
      if (value == nullptr) {
        refusal = CacheStatus::missing;
      } else if (value->version != options.version) {
        refusal = CacheStatus::version_mismatch;
      }
    }
    if (refusal.has_value()) {
      EXPECT_EQ(changed.status, *refusal);
      EXPECT_EQ(changed.version, value != nullptr ? value->version : 0);
      return;
    }
    written(key, value, changed.status, changed.version, bytes, options.lifetime);
  }

  // A write was allowed: it took place, or there was no room for it.
  void written(const std::string& key, const Value* before, CacheStatus status,
               std::uint64_t version, const std::string& bytes, const CacheLifetime& lifetime) {
    if (bytes.size() > kCacheValueBytesMax) {
      EXPECT_EQ(status, CacheStatus::too_large);
      return;
    }
    if (status != CacheStatus::ok) {
      EXPECT_TRUE(status == CacheStatus::no_memory || status == CacheStatus::too_large);
      // Only what is large against the budget, or what stands beside blocks that are held.
      EXPECT_TRUE(bytes.size() > 50'000 || !held_.empty() ||
                  bytes.size() > table_.memory().limit / 8)
          << bytes.size() << " of " << table_.memory().limit;
      return;
    }
    EXPECT_GT(version, last_version_);
    last_version_ = version;
    ++expected_sets_;
    Value& value = model_[key];
    if (before == nullptr) value = Value{};
    value.bytes = bytes;
    value.version = version;
    live_by(value, key, lifetime, before == nullptr);
    check(table_.peek(table_.key(key), now_), &value);
  }

  void remove(const std::string& key) {
    const Value* const value = live(key);
    std::uint64_t version = 0;
    if (value != nullptr && prng_.below(2) == 0) version = value->version + prng_.below(2);
    const CacheChanged changed = table_.remove(table_.key(key), version, now_);
    if (value == nullptr) {
      EXPECT_EQ(changed.status, CacheStatus::missing);
    } else if (version != 0 && version != value->version) {
      EXPECT_EQ(changed.status, CacheStatus::version_mismatch);
      EXPECT_EQ(changed.version, value->version);
    } else {
      EXPECT_EQ(changed.status, CacheStatus::ok);
      EXPECT_GT(changed.version, last_version_);
      last_version_ = changed.version;
      ++expected_deletes_;
      model_.erase(key);
    }
  }

  void touch(const std::string& key) {
    Value* const value = live(key);
    const CacheLifetime lifetime = any_lifetime();
    const CacheChanged changed = table_.touch(table_.key(key), lifetime, now_);
    if (value == nullptr) {
      EXPECT_EQ(changed.status, CacheStatus::missing);
      return;
    }
    if (changed.status == CacheStatus::no_memory) {
      EXPECT_FALSE(held_.empty());
      return;
    }
    EXPECT_EQ(changed.status, CacheStatus::ok);
    EXPECT_EQ(changed.version, value->version);
    if (lifetime.kind == CacheLifetime::Kind::keep) {
      if (value->span_ms != 0) value->expires_ms = now_ms() + value->span_ms;
    } else {
      live_by(*value, key, lifetime, false);
    }
    check(table_.peek(table_.key(key), now_), value);
  }

  void increment(const std::string& key) {
    const Value* const value = live(key);
    CacheIncrement what{.by = static_cast<std::int64_t>(prng_.next() >> prng_.below(64)),
                        .initial = static_cast<std::int64_t>(prng_.below(100)),
                        .creates = prng_.below(4) != 0};
    if (prng_.below(4) == 0) what.low = 0;
    if (prng_.below(4) == 0) what.high = 1'000'000;
    const CacheIncremented done = table_.increment(table_.key(key), what, now_);
    std::int64_t before = what.initial;
    if (value == nullptr && !what.creates) {
      EXPECT_EQ(done.status, CacheStatus::missing);
      return;
    }
    if (value != nullptr) {
      const char* const end = value->bytes.data() + value->bytes.size();
      const auto [at, error] = std::from_chars(value->bytes.data(), end, before);
      if (error != std::errc{} || at != end) {
        EXPECT_EQ(done.status, CacheStatus::not_a_number);
        return;
      }
    }
    __extension__ const auto sum = static_cast<__int128>(before) + what.by;
    if (sum < what.low || sum > what.high) {
      EXPECT_EQ(done.status, CacheStatus::out_of_bounds);
      EXPECT_EQ(done.value, before);
      return;
    }
    if (done.status == CacheStatus::ok) {
      EXPECT_EQ(done.value, static_cast<std::int64_t>(sum));
    }
    written(key, value, done.status, done.version, std::to_string(static_cast<std::int64_t>(sum)),
            what.lifetime);
  }

  void append(const std::string& key) {
    const Value* const value = live(key);
    const std::string more = any_value();
    const CacheLifetime lifetime = any_lifetime();
    const std::string whole = (value != nullptr ? value->bytes : std::string()) + more;
    const CacheChanged changed = table_.append(table_.key(key), bytes_of(more), lifetime, now_);
    written(key, value, changed.status, changed.version, whole, lifetime);
  }

  void expire() {
    const bool more = table_.expire(now_, static_cast<std::uint32_t>(1 + prng_.below(50)));
    if (more) return;
    EXPECT_GT(table_.next_expiry(), now_);
    const auto earliest = static_cast<std::uint64_t>(table_.next_expiry() / kMillisecond);
    for (const auto& [key, value] : model_) {
      if (value.expires_ms == 0) continue;
      EXPECT_GT(value.expires_ms, now_ms());
      EXPECT_GE(value.expires_ms, earliest);
    }
  }

  void remove_prefix() {
    const std::string prefix =
        std::string("ab").substr(0, 1 + prng_.below(2)) + std::to_string(1 + prng_.below(9));
    std::uint64_t cursor = 0;
    do {
      const std::uint64_t before = deletes_;
      const CacheWalk walk = table_.remove_prefix(prefix, cursor, 5, now_);
      EXPECT_EQ(deletes_ - before, walk.matched);
      expected_deletes_ += walk.matched;
      cursor = walk.next;
    } while (cursor != 0);
    for (auto at = model_.begin(); at != model_.end();) {
      // What has expired may be there still: it was not deleted.
      const bool is_live = at->second.expires_ms == 0 || at->second.expires_ms > now_ms();
      at = at->first.starts_with(prefix) && is_live ? model_.erase(at) : std::next(at);
    }
    last_version_ = table_.last_version();
  }

  void compare() {
    struct Seen {
      Walk* walk;
      std::set<std::string> keys;
    } seen{.walk = this, .keys = {}};
    std::uint64_t cursor = 0;
    do {
      const CacheWalk step = table_.scan(
          "", cursor, 7, now_,
          [](void* context, std::string_view key, const CacheFound& found) {
            auto& to = *static_cast<Seen*>(context);
            EXPECT_TRUE(to.keys.emplace(key).second) << key << " came twice";
            to.walk->check(found, to.walk->live(std::string(key)));
          },
          &seen);
      cursor = step.next;
    } while (cursor != 0);
    for (const auto& [key, value] : model_) {
      EXPECT_EQ(seen.keys.contains(key), live(key) != nullptr) << key;
    }
    EXPECT_EQ(sets_, expected_sets_);
    EXPECT_EQ(deletes_, expected_deletes_);
    EXPECT_EQ(table_.size(), model_.size());
    EXPECT_EQ(table_.counters().entries, model_.size());
    EXPECT_EQ(table_.counters().sets, sets_);
    EXPECT_EQ(table_.counters().deletes, deletes_);
    if (has_spaces()) {
      EXPECT_LE(table_.counters(1).bytes, 100'000u);
    }
  }

  void empty_it() {
    while (!held_.empty()) let_go(0);
    while (!model_.empty() && !testing::Test::HasFailure()) {
      const std::string key = model_.begin()->first;
      busy_key_ = key;
      if (live(key) == nullptr) {
        expire();
        if (!model_.contains(key)) continue;
      }
      remove(key);
    }
    while (table_.expire(now_, 100)) {
    }
    EXPECT_EQ(table_.size(), 0u);
    EXPECT_EQ(table_.counters().bytes, 0u);
    EXPECT_EQ(table_.memory().blocks, 0u);
    EXPECT_EQ(table_.next_expiry(), runtime::kNever);
    EXPECT_LE(table_.memory().pages, 2 * CachePages::kPageBytes + 1024);
  }

  Prng prng_;
  CacheOptions options_;
  CacheTable table_;
  std::map<std::string, Value> model_;
  std::vector<Held> held_;
  std::string busy_key_;
  std::uint64_t keys_ = 0;
  std::uint64_t large_of_8_ = 0;
  std::uint64_t last_version_ = 1000;
  std::uint64_t sets_ = 0;
  std::uint64_t deletes_ = 0;
  std::uint64_t expected_sets_ = 0;
  std::uint64_t expected_deletes_ = 0;
  Nanoseconds now_ = 5'000'000'123;
};

TEST(CacheTableModel, DoesWhatAMapWithVersionsAndTimesWouldDo) {
  for (const std::uint64_t seed : runtime::sim::seeds(7000, 40)) {
    SCOPED_TRACE(seed);
    tests::run_on_cores(1, [seed]() -> Task<void> {
      Walk(seed).run(3000);
      co_return;
    });
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace corelane
