#include "perf/cache/policies.hpp"

#include <algorithm>
#include <bit>
#include <utility>

namespace corelane::perf {

// --- Lru

bool Lru::read(std::uint32_t key) {
  if (const auto at = places_.find(key); at != places_.end()) {
    order_.splice(order_.begin(), order_, at->second);
    return true;
  }
  if (places_.size() >= entries_) {
    places_.erase(order_.back());
    order_.pop_back();
  }
  order_.push_front(key);
  places_.emplace(key, order_.begin());
  return false;
}

// --- SampledLru

bool SampledLru::read(std::uint32_t key) {
  ++clock_;
  if (const auto at = places_.find(key); at != places_.end()) {
    keys_[at->second].read_at = clock_;
    return true;
  }
  if (keys_.size() >= entries_) evict();
  places_.emplace(key, static_cast<std::uint32_t>(keys_.size()));
  keys_.push_back({.key = key, .read_at = clock_});
  return false;
}

void SampledLru::evict() {
  for (;;) {
    for (std::size_t i = 0; i < kSamples; ++i) {
      const Key sample = keys_[random_.below(keys_.size())];
      const auto same = [&](const Key& pooled) { return pooled.key == sample.key; };
      if (std::ranges::any_of(pool_, same)) continue;
      if (pool_.size() == kPool) {
        if (sample.read_at >= pool_.front().read_at) continue;
        pool_.erase(pool_.begin());
      }
      const auto place =
          std::ranges::lower_bound(pool_, sample.read_at, std::greater{}, &Key::read_at);
      pool_.insert(place, sample);
    }
    while (!pool_.empty()) {
      const std::uint32_t oldest = pool_.back().key;
      pool_.pop_back();
      const auto at = places_.find(oldest);
      if (at == places_.end()) continue;
      const std::uint32_t index = at->second;
      places_.erase(at);
      keys_[index] = keys_.back();
      keys_.pop_back();
      if (index < keys_.size()) places_[keys_[index].key] = index;
      return;
    }
  }
}

// --- TinyLfu

TinyLfu::TinyLfu(std::size_t entries)
    : window_max_(std::max<std::size_t>(entries / 100, 1)),
      main_max_(entries - window_max_),
      protected_max_(main_max_ * 8 / 10),
      counted_max_(10 * entries) {
  for (auto& row : sketch_) row.resize(std::bit_ceil(entries));
}

std::size_t TinyLfu::cell(std::uint32_t key, std::size_t row) const {
  constexpr std::array<std::uint64_t, 4> kSeeds{0x9e3779b97f4a7c15, 0xc2b2ae3d27d4eb4f,
                                                0x165667b19e3779f9, 0xd6e8feb86659fd93};
  std::uint64_t mixed = (key + kSeeds[row]) * kSeeds[(row + 1) % 4];
  mixed ^= mixed >> 32;
  mixed *= kSeeds[(row + 2) % 4];
  return (mixed >> 20) & (sketch_[row].size() - 1);
}

void TinyLfu::count(std::uint32_t key) {
  for (std::size_t row = 0; row < 4; ++row) {
    std::uint8_t& counter = sketch_[row][cell(key, row)];
    if (counter < 15) ++counter;
  }
  if (++counted_ < counted_max_) return;
  counted_ /= 2;
  for (auto& row : sketch_) {
    for (std::uint8_t& counter : row) counter /= 2;
  }
}

std::uint8_t TinyLfu::frequency(std::uint32_t key) const {
  std::uint8_t least = 15;
  for (std::size_t row = 0; row < 4; ++row) least = std::min(least, sketch_[row][cell(key, row)]);
  return least;
}

void TinyLfu::hit(std::uint32_t key, Place& place) {
  switch (place.part) {
    case Part::window:
      window_.splice(window_.begin(), window_, place.at);
      return;
    case Part::in_protected:
      protected_.splice(protected_.begin(), protected_, place.at);
      return;
    case Part::probation:
      protected_.splice(protected_.begin(), probation_, place.at);
      place.part = Part::in_protected;
      break;
  }
  if (protected_.size() <= protected_max_) return;
  Place& down = places_.at(protected_.back());
  probation_.splice(probation_.begin(), protected_, down.at);
  down.part = Part::probation;
  static_cast<void>(key);
}

bool TinyLfu::read(std::uint32_t key) {
  count(key);
  if (const auto at = places_.find(key); at != places_.end()) {
    hit(key, at->second);
    return true;
  }
  window_.push_front(key);
  places_.emplace(key, Place{.part = Part::window, .at = window_.begin()});
  if (window_.size() <= window_max_) return false;
  const std::uint32_t candidate = window_.back();
  if (probation_.size() + protected_.size() >= main_max_) {
    const std::uint32_t victim = probation_.empty() ? protected_.back() : probation_.back();
    if (frequency(candidate) <= frequency(victim)) {
      window_.pop_back();
      places_.erase(candidate);
      return false;
    }
    (probation_.empty() ? protected_ : probation_).pop_back();
    places_.erase(victim);
  }
  Place& moved = places_.at(candidate);
  probation_.splice(probation_.begin(), window_, moved.at);
  moved.part = Part::probation;
  return false;
}

}  // namespace corelane::perf
