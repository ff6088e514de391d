#include "services/metrics/busy_names.hpp"

#include <algorithm>
#include <functional>

namespace corelane::services {
namespace {

constexpr std::uint64_t kKept = 10;  // of ten parts nine stay each second

}  // namespace

void BusyNames::sample(std::string_view name, std::uint64_t hash) {
  until_sampled_ = kSampledEvery;
  Entry* rarest = &entries_.front();
  for (Entry& entry : entries_) {
    if (entry.weight != 0 && entry.hash == hash && entry.name == name) {
      entry.weight += kUse;
      return;
    }
    if (entry.weight < rarest->weight) rarest = &entry;
  }
  rarest->name = name;
  rarest->hash = hash;
  rarest->weight += kUse;
}

void BusyNames::end_second() noexcept {
  for (Entry& entry : entries_) entry.weight -= (entry.weight + kKept - 1) / kKept;
}

std::vector<BusyNames::Busy> BusyNames::busiest(std::size_t most) const {
  std::vector<Busy> all;
  for (const Entry& entry : entries_) {
    // At a steady rate, what a second adds is what fades in it, a tenth of what is there after it
    // has faded: 9 times a second's uses.
    const std::uint64_t per_second = entry.weight * kSampledEvery / (kKept - 1) / kUse;
    if (per_second != 0) all.push_back({.name = entry.name, .per_second = per_second});
  }
  std::ranges::sort(all, std::greater{}, &Busy::per_second);
  if (all.size() > most) all.resize(most);
  return all;
}

}  // namespace corelane::services
