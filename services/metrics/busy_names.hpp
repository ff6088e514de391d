#pragma once
// BusyNames: which names (of channels) one core is asked for most of late, and about how often. It
// looks at one use in kSampledEvery and keeps the kNames names that it saw most, by the method
// "space saving": a name that is not among them takes the place of the rarest. Older uses count
// less: half after 7 s. A fixed amount of memory, whatever clients ask for.
//
// Belongs to one core.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace corelane::services {

class BusyNames {
 public:
  static constexpr std::uint32_t kSampledEvery = 16;
  static constexpr std::size_t kNames = 64;

  // `hash` of the name, whatever it is, the same each time.
  void note(std::string_view name, std::uint64_t hash) {
    if (--until_sampled_ == 0) [[unlikely]]
      sample(name, hash);
  }
  // Once a second.
  void end_second() noexcept;

  struct Busy {
    std::string name;
    std::uint64_t per_second;  // an estimate; of rare names too high
  };
  // The busiest first; without those below one a second.
  std::vector<Busy> busiest(std::size_t most) const;

 private:
  struct Entry {
    std::string name;
    std::uint64_t hash = 0;
    std::uint64_t weight = 0;  // of uses, kUse each, less what has faded
  };
  static constexpr std::uint64_t kUse = 1 << 20;

  [[gnu::cold]] void sample(std::string_view name, std::uint64_t hash);

  std::array<Entry, kNames> entries_;
  std::uint32_t until_sampled_ = kSampledEvery;
};

}  // namespace corelane::services
