#pragma once
// Slab<T>: objects of one type at stable addresses, named by {slot, generation}, so that a late
// completion, cancel or message that carries an old name finds nothing instead of another object.
// Owned and used by one core. It grows by chunks of about 64 KiB up to a limit and gives memory
// back only when destroyed; the slot freed last is used first, because it is warm.
//
// A slot's generation is odd while it holds an object and even while it is free. So a generation
// seen from outside can be forged only into that of a living object, and Id{} names nothing.
// Overhead: 8 bytes a slot (alignof(T) if that is more).

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "runtime/assert.hpp"
#include "runtime/sanitizer.hpp"

namespace corelane::runtime {

// GenerationBits: how many low bits of the generation exist; fewer than 32 where it shares a word
// with other things. A slot's name repeats after 2^(GenerationBits - 1) reuses of that slot.
template <class T, unsigned GenerationBits = 32>
class Slab {
  static_assert(GenerationBits >= 2 && GenerationBits <= 32);

 public:
  static constexpr std::uint32_t kGenerationMask =
      GenerationBits == 32 ? ~std::uint32_t{0} : (std::uint32_t{1} << GenerationBits) - 1;

  struct Id {
    std::uint32_t slot = 0;
    std::uint32_t generation = 0;
    friend constexpr bool operator==(const Id&, const Id&) = default;
  };
  struct Entry {
    Id id;
    T* value = nullptr;  // null: the limit is reached
  };

  // limit: most objects alive at once, in 1..2^32-1.
  explicit Slab(std::uint32_t limit) : limit_(limit) { RT_ASSERT(limit > 0); }
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;
  // Objects still alive at this point were forgotten by somebody: call clear() if that is meant.
  ~Slab() {
    RT_ASSERT(count_ == 0);
    for (Slot* chunk : chunks_) {
      unpoison_memory(chunk, kSlotsPerChunk * sizeof(Slot));
      std::allocator<Slot>{}.deallocate(chunk, kSlotsPerChunk);
    }
  }

  // Constructs an object; value is null, and nothing is constructed, if `limit` objects are alive.
  // Allocates only when more objects are alive than ever before and a chunk is used up.
  template <class... Args>
  [[nodiscard]] Entry emplace(Args&&... args) {
    std::uint32_t index;
    if (free_ != kNoSlot) {
      index = free_;
      free_ = slot_at(index).next_free;
    } else {
      if (used_ == limit_) [[unlikely]]
        return {};
      index = used_;
      if (index / kSlotsPerChunk == chunks_.size()) [[unlikely]]
        add_chunk();
      ::new (static_cast<void*>(&slot_at(index))) Slot;
      ++used_;
    }
    Slot& slot = slot_at(index);
    unpoison_memory(slot.bytes, sizeof slot.bytes);
    T* const value = ::new (static_cast<void*>(slot.bytes)) T(std::forward<Args>(args)...);
    slot.generation = (slot.generation + 1) & kGenerationMask;
    slot.next_free = kNoSlot;
    ++count_;
    return {{index, slot.generation}, value};
  }

  // The object of that name, or null if it is gone or never was. Any two numbers are allowed.
  T* get(std::uint32_t slot, std::uint32_t generation) noexcept {
    if (slot >= used_ || !is_live(generation)) return nullptr;
    Slot& candidate = slot_at(slot);
    return candidate.generation == generation ? candidate.value() : nullptr;
  }
  T* get(Id id) noexcept { return get(id.slot, id.generation); }

  // Whatever lives in the slot, or null. For names that are told apart by something else.
  T* in_slot(std::uint32_t slot) noexcept {
    if (slot >= used_) return nullptr;
    Slot& candidate = slot_at(slot);
    return is_live(candidate.generation) ? candidate.value() : nullptr;
  }

  // Asks for the memory of a slot that has been taken at least once, for a write.
  void prefetch(std::uint32_t slot) const noexcept { __builtin_prefetch(&slot_at(slot), 1); }

  // The object in a slot that the caller knows to be taken.
  T& at(std::uint32_t slot) noexcept {
    RT_DEBUG_ASSERT(slot < used_);
    Slot& taken = slot_at(slot);
    RT_DEBUG_ASSERT(is_live(taken.generation));
    return *taken.value();
  }
  Id id_of(std::uint32_t slot) const noexcept {
    RT_DEBUG_ASSERT(slot < used_);
    return {slot, slot_at(slot).generation};
  }

  // Destroys the object in a taken slot; its name is stale before the destructor runs.
  void erase(std::uint32_t slot) noexcept {
    RT_ASSERT(slot < used_);
    Slot& taken = slot_at(slot);
    RT_ASSERT(is_live(taken.generation));
    taken.generation = (taken.generation + 1) & kGenerationMask;
    taken.value()->~T();
    poison_memory(taken.bytes, sizeof taken.bytes);
    taken.next_free = free_;
    free_ = slot;
    --count_;
  }

  // Calls visit(Id, T&) for each object in slot order. It may erase any object; an object that it
  // makes may be visited or not.
  template <class Visit>
  void for_each(Visit&& visit) {
    for (std::uint32_t index = 0; index < used_; ++index) {
      Slot& slot = slot_at(index);
      if (is_live(slot.generation)) visit(Id{index, slot.generation}, *slot.value());
    }
  }

  void clear() noexcept {
    for_each([this](Id id, T&) { erase(id.slot); });
  }

  std::uint32_t count() const noexcept { return count_; }
  // Slots that have ever been taken, 0 to slots() - 1: for walks in several steps, with in_slot().
  std::uint32_t slots() const noexcept { return used_; }
  std::uint32_t limit() const noexcept { return limit_; }
  // Bytes held in chunks, whether their slots are taken or free.
  std::size_t memory_bytes() const noexcept {
    return chunks_.size() * kSlotsPerChunk * sizeof(Slot);
  }

 private:
  static constexpr std::uint32_t kNoSlot = std::numeric_limits<std::uint32_t>::max();

  // The header is in front, on the line of the object's first bytes: a lookup of a cold object
  // costs one miss, not two.
  struct Slot {
    std::uint32_t generation = 0;
    std::uint32_t next_free = kNoSlot;
    alignas(T) std::byte bytes[sizeof(T)];  // NOLINT(bugprone-sizeof-expression): may be a pointer

    // The bytes stay uninitialised.
    Slot() noexcept {}  // NOLINT(modernize-use-equals-default)
    T* value() noexcept { return std::launder(reinterpret_cast<T*>(bytes)); }
  };
  static_assert(sizeof(Slot) <= sizeof(Slot::bytes) + std::max(alignof(T), std::size_t{8}) + 3);

  // 64 KiB keep the table of chunks short (a million slots of 64 bytes: 1,000 pointers) and the
  // steps of growth small. Large objects get at least 16 a chunk, small ones at most 4,096.
  static constexpr std::size_t kChunkBytes = 64 * 1024;
  static constexpr std::uint32_t kSlotsPerChunk = static_cast<std::uint32_t>(
      std::clamp<std::size_t>(std::bit_floor(kChunkBytes / sizeof(Slot)), 16, 4096));

  static constexpr bool is_live(std::uint32_t generation) noexcept { return generation % 2 == 1; }

  Slot& slot_at(std::uint32_t index) const noexcept {
    return chunks_[index / kSlotsPerChunk][index % kSlotsPerChunk];
  }

  [[gnu::cold, gnu::noinline]] void add_chunk() {
    chunks_.push_back(std::allocator<Slot>{}.allocate(kSlotsPerChunk));
  }

  std::vector<Slot*> chunks_;
  std::uint32_t free_ = kNoSlot;  // first slot of the free list
  std::uint32_t used_ = 0;        // slots below were taken at least once
  std::uint32_t count_ = 0;
  const std::uint32_t limit_;
};

}  // namespace corelane::runtime
