#pragma once
// CachePages: memory of the cache's entries. Pages of 16 KiB, each cut into slots of one size, so
// that an entry is named by 4 bytes and costs what it holds: sizes are multiples of 8 up to 256
// bytes, and from there 16 KiB divided by a whole number. Private to the cache's table.
//
// An allocator of the process cannot give back a page while one entry lives in it: after a change
// of the sizes that are written, memory stays in slots that nobody wants. Here compact() empties
// the page with most room by moving its entries to others of the same size.

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "runtime/assert.hpp"
#include "services/cache/entry.hpp"

namespace corelane::services {

class CachePages {
 public:
  static constexpr std::size_t kPageBytes = 16 * 1024;
  static constexpr std::size_t kUnit = 8;  // of references
  static constexpr std::uint32_t kPageUnits = kPageBytes / kUnit;
  static_assert(kPageUnits == kEntryRefMin);  // page 0 is never used
  // 32 GiB: the units that 4 bytes can name.
  static constexpr std::size_t kPagesMax = (std::size_t{1} << 32) / kPageUnits;

  using SizeClass = std::uint8_t;

  CachePages();
  ~CachePages();
  CachePages(const CachePages&) = delete;
  CachePages& operator=(const CachePages&) = delete;

  // `bytes`: 24 to kEntryBytesMax.
  static SizeClass class_of(std::size_t bytes) noexcept;
  static std::size_t class_bytes(SizeClass size_class) noexcept;

  CacheEntry& at(EntryRef ref) const noexcept {
    RT_DEBUG_ASSERT(ref >= kEntryRefMin);
    return *reinterpret_cast<CacheEntry*>(pages_[ref / kPageUnits].memory +
                                          std::size_t{ref % kPageUnits} * kUnit);
  }
  SizeClass class_at(EntryRef ref) const noexcept { return pages_[ref / kPageUnits].size_class; }
  std::size_t slot_bytes(EntryRef ref) const noexcept { return class_bytes(class_at(ref)); }

  // The most that take() of that class adds to bytes(): 0 if there is a free slot or a spare page;
  // half of SIZE_MAX if no more pages can be named.
  std::size_t cost(SizeClass size_class) const noexcept;
  // A free slot, whose head is not initialised.
  EntryRef take(SizeClass size_class);
  // The entry in it must hold no block any more.
  void give(EntryRef ref) noexcept;

  // All memory, free slots included.
  std::size_t bytes() const noexcept { return bytes_ + pages_.capacity() * sizeof(Page); }
  // In slots that are free.
  std::size_t free_bytes() const noexcept { return free_bytes_; }

  // Empties one page by moving its entries: moved(context, from, to) is called when the bytes are
  // at `to` and still at `from`. False: no size has as many free slots as a page has. At most 682
  // entries move. The memory of one empty page is kept;
  // release_spare() gives it back.
  using Moved = void (*)(void* context, EntryRef from, EntryRef to);
  bool compact(Moved moved, void* context);
  void release_spare() noexcept;
  bool has_spare() const noexcept { return spare_ != nullptr; }

 private:
  static constexpr std::uint32_t kNone = 0;
  static constexpr std::uint16_t kNoSlot = std::numeric_limits<std::uint16_t>::max();
  static constexpr std::size_t kSamples = 8;  // pages that compact() compares

  struct Page {
    std::byte* memory = nullptr;
    std::uint32_t next = kNone;  // in the list of its class' pages with free slots
    std::uint32_t previous = kNone;
    SizeClass size_class = 0;
    std::uint16_t used = 0;
    std::uint16_t touched = 0;          // slots from here on have never been taken
    std::uint16_t free_slot = kNoSlot;  // in units, of those before
  };
  // A free slot: its version is 0, and `newer` is the next one.
  struct Class {
    std::uint32_t partial = kNone;  // pages with a free slot
    std::size_t free_slots = 0;
  };
  static constexpr std::size_t kClasses = 81;

  bool at_most_reached() const noexcept { return pages_.size() >= kPagesMax; }
  static std::uint32_t slots_of(SizeClass size_class) noexcept;
  void add_page(SizeClass size_class);
  void drop_page(std::uint32_t index) noexcept;
  void link(std::uint32_t index) noexcept;
  void unlink(std::uint32_t index) noexcept;
  std::uint32_t emptiest(SizeClass size_class) const noexcept;

  std::vector<Page> pages_;
  std::vector<std::uint32_t> unused_;  // indices of pages that were dropped
  std::array<Class, kClasses> classes_{};
  std::byte* spare_ = nullptr;
  std::size_t bytes_ = 0;
  std::size_t free_bytes_ = 0;
};

}  // namespace corelane::services
