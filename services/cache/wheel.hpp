#pragma once
// CacheWheel: a hierarchical timer wheel (Varghese and Lauck, 1987) of the entries that expire, in
// ms. Private to the cache's table. Seven levels of 64 slots; a slot of level n is 64^n ms wide,
// so 139 years fit. An entry lies in the level of the highest digit (base 64) in which its time
// differs from the wheel's, and comes down a level when the wheel reaches its slot. Each step of
// next_due() handles one entry, so it can stop anywhere; what has not been reached stays where it
// is.

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "runtime/assert.hpp"
#include "services/cache/pages.hpp"

namespace corelane::services {

class CacheWheel {
 public:
  explicit CacheWheel(CachePages& pages) noexcept : pages_(pages) {}

  // Puts a timed entry into its list, by its expires_ms. It must not be in one.
  void insert(EntryRef ref) noexcept;
  void erase(EntryRef ref) noexcept;
  // The entry was copied from `from` to `to`.
  void moved(EntryRef from, EntryRef to) noexcept;

  // The next entry whose time has come by `now_ms`, or 0; it stays in its list (erase it, or
  // insert it again with a later time). Each step takes one from `steps`; 0 is also returned
  // when none is left.
  EntryRef next_due(std::uint64_t now_ms, std::uint32_t& steps) noexcept;
  // No entry's time comes before that ms. UINT64_MAX: there is none.
  std::uint64_t earliest_ms() const noexcept;

 private:
  static constexpr unsigned kDigit = 6;
  static constexpr std::size_t kSlots = std::size_t{1} << kDigit;
  static constexpr std::size_t kLevels = 7;
  static constexpr std::uint64_t kMsMax = (std::uint64_t{1} << (kDigit * kLevels)) - 1;
  static_assert(kLevels * kSlots < kEntryRefMin);  // slot + 1 stands in an entry's `previous`

  struct Due {
    std::size_t slot = 0;  // level * kSlots + digit
    std::uint64_t ms = UINT64_MAX;
  };
  Due earliest() const noexcept;

  CachePages& pages_;
  std::uint64_t time_ms_ = 0;
  std::array<std::uint64_t, kLevels> occupied_{};  // a bit for each slot
  std::array<EntryRef, kLevels * kSlots> first_{};
};

}  // namespace corelane::services
