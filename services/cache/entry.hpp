#pragma once
// CacheEntry: a key, its value and what belongs to them, in one slot of CachePages. Private to the
// cache's table. What not every entry has lies behind the head only where it is needed:
//
//   [head 24][expires, wheel links 16, if timed][span 8, if sliding][block 8, if large][key][value]
//
// An entry moves when its shape changes or its page is emptied. So others name it by its
// EntryRef, and nobody keeps a pointer to it.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "services/cache/types.hpp"

namespace corelane::services {

// The place of an entry in units of 8 bytes; 0: none. References below kEntryRefMin name no entry
// (the wheel has its slots there).
using EntryRef = std::uint32_t;
inline constexpr EntryRef kEntryRefMin = 2048;

// What decides how many bytes an entry takes.
struct EntryShape {
  std::size_t key_bytes;
  std::size_t value_bytes;
  bool timed;
  bool sliding;  // only if timed

  constexpr bool has_block() const noexcept { return value_bytes > kCacheInlineBytesMax; }
  constexpr std::size_t bytes() const noexcept {
    return 24 + (timed ? 16u : 0u) + (sliding ? 8u : 0u) + key_bytes +
           (has_block() ? sizeof(void*) : value_bytes);
  }
};
inline constexpr std::size_t kEntryBytesMax =
    EntryShape{kCacheKeyBytesMax, kCacheInlineBytesMax, true, true}.bytes();

struct CacheEntry {
  struct Timing {
    std::uint64_t expires_ms;
    EntryRef next;      // in the wheel's list
    EntryRef previous;  // below kEntryRefMin: the list's own slot
  };

  std::uint64_t version;  // 0: the slot is free
  EntryRef newer;         // in its queue
  EntryRef older;
  std::uint32_t value_bytes;
  std::uint16_t key_bytes;
  std::uint8_t space;  // the namespace
  std::uint8_t frequency : 2;
  bool in_main : 1;
  bool timed : 1;
  bool sliding : 1;
  bool has_block : 1;

  std::byte* behind_head() noexcept {
    return reinterpret_cast<std::byte*>(this) + sizeof(CacheEntry);
  }
  const std::byte* behind_head() const noexcept {
    return reinterpret_cast<const std::byte*>(this) + sizeof(CacheEntry);
  }
  Timing& timing() noexcept { return *reinterpret_cast<Timing*>(behind_head()); }
  const Timing& timing() const noexcept { return *reinterpret_cast<const Timing*>(behind_head()); }
  // Of a sliding entry: the time to live that each get begins again.
  std::uint64_t span_ms() const noexcept {
    std::uint64_t span;
    std::memcpy(&span, behind_head() + sizeof(Timing), sizeof span);
    return span;
  }
  void set_span_ms(std::uint64_t span) noexcept {
    std::memcpy(behind_head() + sizeof(Timing), &span, sizeof span);
  }
  // Of a large value: the handle of its block, which the entry owns (SharedBytes has the size of a
  // pointer).
  runtime::SharedBytes& block() noexcept {
    return *reinterpret_cast<runtime::SharedBytes*>(behind_head() + block_at());
  }
  const runtime::SharedBytes& block() const noexcept {
    return *reinterpret_cast<const runtime::SharedBytes*>(behind_head() + block_at());
  }
  std::byte* key_data() noexcept { return behind_head() + key_at(); }
  std::string_view key() const noexcept {
    return {reinterpret_cast<const char*>(behind_head() + key_at()), key_bytes};
  }
  std::byte* inline_data() noexcept { return key_data() + key_bytes; }
  std::span<const std::byte> value() const noexcept {
    if (has_block) return {block().data(), value_bytes};
    return {behind_head() + key_at() + key_bytes, value_bytes};
  }
  // Whether the same parts lie behind the head.
  bool has_layout_of(const EntryShape& shape) const noexcept {
    return timed == shape.timed && sliding == shape.sliding && has_block == shape.has_block();
  }

 private:
  std::size_t block_at() const noexcept { return (timed ? 16u : 0u) + (sliding ? 8u : 0u); }
  std::size_t key_at() const noexcept { return block_at() + (has_block ? sizeof(void*) : 0u); }
};
static_assert(sizeof(CacheEntry) == 24 && sizeof(CacheEntry::Timing) == 16);
static_assert(sizeof(runtime::SharedBytes) == 8 && kEntryBytesMax == 2096);

}  // namespace corelane::services
