#pragma once
// What hit ratios are compared with: plain models of other caches, which keep a fixed number of
// keys and no values.

#include <array>
#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>
#include <vector>

#include "runtime/random.hpp"

namespace corelane::perf {

class Policy {
 public:
  Policy() = default;
  Policy(const Policy&) = delete;
  Policy& operator=(const Policy&) = delete;
  virtual ~Policy() = default;

  // A read; true: it was there. Otherwise it is written, as a client of a cache would do.
  virtual bool read(std::uint32_t key) = 0;
};

// The key that was read longest ago goes.
class Lru final : public Policy {
 public:
  explicit Lru(std::size_t entries) : entries_(entries) {}
  bool read(std::uint32_t key) override;

 private:
  std::size_t entries_;
  std::list<std::uint32_t> order_;  // the newest first
  std::unordered_map<std::uint32_t, std::list<std::uint32_t>::iterator> places_;
};

// redis 7, allkeys-lru: five keys by chance for each that must go, and a pool of the 16 oldest that
// were seen so. Its clock has a second; here every read is one, which is better for it.
class SampledLru final : public Policy {
 public:
  explicit SampledLru(std::size_t entries) : entries_(entries) {}
  bool read(std::uint32_t key) override;

 private:
  static constexpr std::size_t kSamples = 5;
  static constexpr std::size_t kPool = 16;
  struct Key {
    std::uint32_t key;
    std::uint64_t read_at;
  };
  void evict();

  std::size_t entries_;
  std::uint64_t clock_ = 0;
  std::vector<Key> keys_;
  std::unordered_map<std::uint32_t, std::uint32_t> places_;  // in keys_
  std::vector<Key> pool_;                                    // the oldest last
  runtime::Random random_{7};
};

// W-TinyLFU (Einziger, Friedman, Manes, 2017): a window of 1 % in front of a segmented LRU (a fifth
// on probation), into which a key comes only if a sketch of four rows of 4-bit counters, halved
// every ten reads an entry, has seen it more often than the key that would go.
class TinyLfu final : public Policy {
 public:
  explicit TinyLfu(std::size_t entries);
  bool read(std::uint32_t key) override;

 private:
  enum class Part : std::uint8_t { window, probation, in_protected };
  using List = std::list<std::uint32_t>;
  struct Place {
    Part part;
    List::iterator at;
  };
  void count(std::uint32_t key);
  std::uint8_t frequency(std::uint32_t key) const;
  std::size_t cell(std::uint32_t key, std::size_t row) const;
  void hit(std::uint32_t key, Place& place);

  std::size_t window_max_;
  std::size_t main_max_;
  std::size_t protected_max_;
  List window_, probation_, protected_;
  std::unordered_map<std::uint32_t, Place> places_;
  std::array<std::vector<std::uint8_t>, 4> sketch_;
  std::size_t counted_ = 0;
  std::size_t counted_max_;
};

}  // namespace corelane::perf
