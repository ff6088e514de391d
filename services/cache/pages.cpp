#include "services/cache/pages.hpp"

#include <malloc.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "runtime/sanitizer.hpp"

namespace corelane::services {

namespace {

constexpr std::size_t kSmallBytesMax = 256;  // sizes up to here in steps of 8
constexpr std::size_t kFreeHead = 16;        // what a free slot uses

struct Sizes {
  std::array<std::uint16_t, 128> bytes{};
  std::array<std::uint8_t, kEntryBytesMax / 8 + 1> by_units{};
  std::size_t count = 0;
};

constexpr Sizes make_sizes() {
  Sizes sizes;
  const auto add = [&sizes](std::size_t bytes) {
    if (sizes.count > 0 && bytes <= sizes.bytes[sizes.count - 1]) return;
    sizes.bytes[sizes.count++] = static_cast<std::uint16_t>(bytes);
  };
  for (std::size_t bytes = sizeof(CacheEntry); bytes <= kSmallBytesMax; bytes += 8) add(bytes);
  std::size_t slots = CachePages::kPageBytes / kSmallBytesMax;
  while (sizes.bytes[sizes.count - 1] < kEntryBytesMax) {
    --slots;
    add(CachePages::kPageBytes / slots / 8 * 8);
  }
  std::size_t size_class = 0;
  for (std::size_t units = 0; units < sizes.by_units.size(); ++units) {
    while (sizes.bytes[size_class] < units * 8) ++size_class;
    sizes.by_units[units] = static_cast<std::uint8_t>(size_class);
  }
  return sizes;
}
constexpr Sizes kSizes = make_sizes();

}  // namespace

CachePages::CachePages() {
  static_assert(kSizes.count == kClasses);
  pages_.reserve(16);
  pages_.emplace_back();  // page 0
}

CachePages::~CachePages() {
  for (std::uint32_t i = 1; i < pages_.size(); ++i) {
    if (pages_[i].memory == nullptr) continue;
    runtime::unpoison_memory(pages_[i].memory, kPageBytes);
    ::operator delete(static_cast<void*>(pages_[i].memory));
  }
  release_spare();
}

CachePages::SizeClass CachePages::class_of(std::size_t bytes) noexcept {
  RT_DEBUG_ASSERT(bytes >= sizeof(CacheEntry));
  RT_DEBUG_ASSERT(bytes <= kEntryBytesMax);
  return kSizes.by_units[(bytes + 7) / 8];
}

std::size_t CachePages::class_bytes(SizeClass size_class) noexcept {
  return kSizes.bytes[size_class];
}

std::uint32_t CachePages::slots_of(SizeClass size_class) noexcept {
  return static_cast<std::uint32_t>(kPageBytes / class_bytes(size_class));
}

std::size_t CachePages::cost(SizeClass size_class) const noexcept {
  if (classes_[size_class].partial != kNone || spare_ != nullptr) return 0;
  if (unused_.empty() && at_most_reached()) return SIZE_MAX / 2;
  const bool grows = unused_.empty() && pages_.size() == pages_.capacity();
  // An allocator may round a page up.
  return kPageBytes + 64 + (grows ? pages_.capacity() * sizeof(Page) : 0);
}

EntryRef CachePages::take(SizeClass size_class) {
  Class& of_class = classes_[size_class];
  if (of_class.partial == kNone) add_page(size_class);
  const std::uint32_t index = of_class.partial;
  Page& page = pages_[index];
  const std::size_t bytes = class_bytes(size_class);
  std::uint32_t units;
  if (page.free_slot != kNoSlot) {
    units = page.free_slot;
    const auto* free = reinterpret_cast<const CacheEntry*>(page.memory + units * kUnit);
    page.free_slot = static_cast<std::uint16_t>(free->newer);
  } else {
    units = static_cast<std::uint32_t>(page.touched * bytes / kUnit);
    ++page.touched;
  }
  runtime::unpoison_memory(page.memory + units * kUnit, bytes);
  ++page.used;
  --of_class.free_slots;
  free_bytes_ -= bytes;
  if (page.used == slots_of(size_class)) unlink(index);
  return index * kPageUnits + units;
}

void CachePages::give(EntryRef ref) noexcept {
  const std::uint32_t index = ref / kPageUnits;
  Page& page = pages_[index];
  CacheEntry& entry = at(ref);
  RT_DEBUG_ASSERT(entry.version != 0);
  const std::size_t bytes = class_bytes(page.size_class);
  if (page.used == slots_of(page.size_class)) link(index);
  entry.version = 0;
  entry.newer = page.free_slot;
  page.free_slot = static_cast<std::uint16_t>(ref % kPageUnits);
  runtime::poison_memory(reinterpret_cast<std::byte*>(&entry) + kFreeHead, bytes - kFreeHead);
  --page.used;
  ++classes_[page.size_class].free_slots;
  free_bytes_ += bytes;
  if (page.used == 0) {
    unlink(index);
    drop_page(index);
  }
}

void CachePages::add_page(SizeClass size_class) {
  std::uint32_t index;
  if (!unused_.empty()) {
    index = unused_.back();
    unused_.pop_back();
  } else {
    RT_ASSERT(!at_most_reached());
    index = static_cast<std::uint32_t>(pages_.size());
    pages_.emplace_back();
    // So that drop_page() does not allocate.
    if (unused_.capacity() < pages_.size()) unused_.reserve(pages_.capacity());
  }
  if (spare_ == nullptr) {
    spare_ = static_cast<std::byte*>(::operator new(kPageBytes));
    bytes_ += ::malloc_usable_size(spare_);
  }
  Page& page = pages_[index];
  page = Page{.memory = std::exchange(spare_, nullptr), .size_class = size_class};
  runtime::poison_memory(page.memory, kPageBytes);
  classes_[size_class].free_slots += slots_of(size_class);
  free_bytes_ += slots_of(size_class) * class_bytes(size_class);
  link(index);
}

// The page is in no list; its slots are all free, or were moved.
void CachePages::drop_page(std::uint32_t index) noexcept {
  Page& page = pages_[index];
  const std::uint32_t slots = slots_of(page.size_class);
  classes_[page.size_class].free_slots -= slots;
  free_bytes_ -= slots * class_bytes(page.size_class);
  runtime::unpoison_memory(page.memory, kPageBytes);
  release_spare();
  spare_ = std::exchange(page.memory, nullptr);
  unused_.push_back(index);
}

void CachePages::release_spare() noexcept {
  if (spare_ == nullptr) return;
  bytes_ -= ::malloc_usable_size(spare_);
  ::operator delete(static_cast<void*>(spare_));
  spare_ = nullptr;
}

void CachePages::link(std::uint32_t index) noexcept {
  Page& page = pages_[index];
  std::uint32_t& first = classes_[page.size_class].partial;
  page.previous = kNone;
  page.next = first;
  if (first != kNone) pages_[first].previous = index;
  first = index;
}

void CachePages::unlink(std::uint32_t index) noexcept {
  const Page& page = pages_[index];
  if (page.previous != kNone) {
    pages_[page.previous].next = page.next;
  } else {
    classes_[page.size_class].partial = page.next;
  }
  if (page.next != kNone) pages_[page.next].previous = page.previous;
}

std::uint32_t CachePages::emptiest(SizeClass size_class) const noexcept {
  std::uint32_t best = classes_[size_class].partial;
  std::uint32_t index = best;
  for (std::size_t i = 0; i < kSamples && index != kNone; ++i) {
    if (pages_[index].used < pages_[best].used) best = index;
    index = pages_[index].next;
  }
  return best;
}

bool CachePages::compact(Moved moved, void* context) {
  std::size_t most = 0;
  SizeClass chosen = 0;
  for (std::size_t i = 0; i < kClasses; ++i) {
    const auto size_class = static_cast<SizeClass>(i);
    const std::size_t free_slots = classes_[i].free_slots;
    // The other pages must have room for all that this one holds.
    if (free_slots < slots_of(size_class)) continue;
    if (free_slots * class_bytes(size_class) <= most) continue;
    most = free_slots * class_bytes(size_class);
    chosen = size_class;
  }
  if (most == 0) return false;
  const std::uint32_t index = emptiest(chosen);
  unlink(index);
  const std::size_t bytes = class_bytes(chosen);
  const std::uint32_t touched = pages_[index].touched;
  for (std::uint32_t slot = 0; slot < touched; ++slot) {
    const auto units = static_cast<std::uint32_t>(slot * bytes / kUnit);
    const EntryRef from = index * kPageUnits + units;
    if (at(from).version == 0) continue;
    const EntryRef to = take(chosen);
    std::memcpy(static_cast<void*>(&at(to)), &at(from), bytes);
    moved(context, from, to);
    // It is neither taken nor free now; drop_page() takes away all slots of the page as free ones.
    ++classes_[chosen].free_slots;
    free_bytes_ += bytes;
  }
  drop_page(index);
  return true;
}

}  // namespace corelane::services
