#pragma once
// Forward writer of FlatBuffers, private to this folder. FlatBuffers' builder writes from the end
// to the start into memory of its own, which costs a second copy of the data and a third for a
// payload inside a Message. The format itself only asks that offsets point forward, and every shape
// we send is known, so that it can be written from the start in the place where it will be sent
// from.
//
// Positions count from the start of the frame; alignment is relative to it.
//
//   table:   [vtable: own bytes | table bytes | field positions…] pad
//            [way back to vtable | fields…]
//   string:  [count | text | 0] pad
//   vector:  [count | elements] pad
//
// With kStore false nothing is written and only positions advance: the same code measures a frame.
//
// Once all is inlined into the function that lays one form of a frame, positions are constants up
// to the first field of variable length, and vtables and padding a few stores of constants. How
// much padding stands behind such a field is not known then, and a call that clears 3 bytes costs
// more than the rest of the field: it is written ahead of the field, as one number.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

#include "protocol/assert.hpp"
#include "protocol/bytes.hpp"
#include "protocol/fbs.hpp"
#include "protocol/uuid.hpp"

namespace corelane::protocol::layout {

template <bool kStore>
class Writer {
 public:
  constexpr explicit Writer(std::byte* base) noexcept : base_(base) {}

  constexpr std::size_t at() const noexcept { return at_; }

  template <class T>
  constexpr void set(std::size_t position, T value) noexcept {
    if constexpr (kStore) store(base_ + position, value);
  }
  template <class T>
  constexpr void append(T value) noexcept {
    set(at_, value);
    at_ += sizeof(T);
  }
  template <class T>
  constexpr void append_bytes(const T* from, std::size_t bytes) noexcept {
    if constexpr (kStore) {
      if (std::is_constant_evaluated()) {
        static_assert(std::is_trivially_copyable_v<T>);
        for (std::size_t i = 0; i < bytes / sizeof(T); ++i) {
          store(base_ + at_ + i * sizeof(T), from[i]);
        }
      } else if (bytes != 0) {
        std::memcpy(base_ + at_, from, bytes);
      }
    }
    at_ += bytes;
  }
  constexpr void append_zeros(std::size_t bytes) noexcept {
    if constexpr (kStore) {
      if (std::is_constant_evaluated()) {
        for (std::size_t i = 0; i < bytes; ++i) base_[at_ + i] = std::byte{0};
      } else {
        std::memset(base_ + at_, 0, bytes);
      }
    }
    at_ += bytes;
  }
  // Pads until the position is `phase` past a multiple of `alignment`.
  constexpr void align(std::size_t alignment, std::size_t phase = 0) noexcept {
    PROTOCOL_DEBUG_ASSERT(phase < alignment);
    append_zeros(align_up(at_ + alignment - phase, alignment) + phase - alignment - at_);
  }

  // Pads to a multiple of `alignment` with what is there already.
  constexpr void skip_to(std::size_t alignment) noexcept { at_ = align_up(at_, alignment); }

  // Each of these fills the slot that Table::add_offset() left for it, and pads to 4.
  constexpr void string(std::size_t slot, std::string_view text) noexcept {
    begin_vector(slot, text.size());
    pad_ahead(text.size() + 1);
    append_bytes(text.data(), text.size());
    ++at_;  // the terminator
    skip_to(sizeof(std::uint32_t));
  }
  constexpr void bytes(std::size_t slot, std::span<const std::byte> data) noexcept {
    begin_vector(slot, data.size());
    if (data.empty()) return;
    pad_ahead(data.size());
    append_bytes(data.data(), data.size());
    skip_to(sizeof(std::uint32_t));
  }
  constexpr void strings(std::size_t slot, std::span<const std::string_view> texts) noexcept {
    begin_vector(slot, texts.size());
    std::size_t text_slot = at_;
    append_zeros(texts.size() * sizeof(std::uint32_t));
    for (const std::string_view text : texts) {
      string(text_slot, text);
      text_slot += sizeof(std::uint32_t);
    }
  }
  template <class Struct>
  constexpr void structs(std::size_t slot, std::span<const Struct> items) noexcept {
    align(8, sizeof(std::uint32_t));  // the elements follow the count
    begin_vector(slot, items.size());
    append_bytes(items.data(), items.size_bytes());
  }
  constexpr void begin_vector(std::size_t slot, std::size_t count) noexcept {
    PROTOCOL_DEBUG_ASSERT(slot < at_);  // offsets point forward
    PROTOCOL_DEBUG_ASSERT(at_ % sizeof(std::uint32_t) == 0);
    set(slot, static_cast<std::uint32_t>(at_ - slot));
    append(static_cast<std::uint32_t>(count));
  }

 private:
  // Clears the last 4 of the bytes that `bytes` (not 0) will take with their padding.
  constexpr void pad_ahead(std::size_t bytes) noexcept {
    set(align_up(at_ + bytes, sizeof(std::uint32_t)) - sizeof(std::uint32_t), std::uint32_t{0});
  }

  std::byte* base_;
  std::size_t at_ = 0;
};

// One table, behind its vtable. Fields are added widest first; each is then aligned without
// padding.
template <bool kStore>
class Table {
 public:
  // Writes the root offset at the current position, then the vtable. last_field is the highest
  // field that will be added (a generated VT_ constant); 0 for a table without fields.
  constexpr Table(Writer<kStore>& writer, flatbuffers::voffset_t last_field) noexcept
      : writer_(writer) {
    const std::size_t root = writer_.at();
    PROTOCOL_DEBUG_ASSERT(root % sizeof(std::uint32_t) == 0);
    vtable_bytes_ =
        last_field == 0 ? 2 * sizeof(std::uint16_t) : last_field + sizeof(std::uint16_t);
    vtable_ = root + sizeof(std::uint32_t);
    writer_.append(std::uint32_t{0});
    writer_.append_zeros(vtable_bytes_);
    // The fields follow 4 bytes after the table's start and may be 64 bits wide.
    writer_.align(8, sizeof(std::int32_t));
    table_ = writer_.at();
    writer_.set(root, static_cast<std::uint32_t>(table_ - root));
    writer_.append(static_cast<std::int32_t>(table_ - vtable_));
  }

  template <class T>
  constexpr void add(flatbuffers::voffset_t field, T value) noexcept {
    static_assert(std::is_integral_v<T>);
    PROTOCOL_DEBUG_ASSERT(writer_.at() % sizeof(T) == 0);  // widest first
    note(field);
    writer_.append(value);
  }
  constexpr void add(flatbuffers::voffset_t field, const Uuid& uuid) noexcept {
    note(field);
    writer_.append_bytes(uuid.data, sizeof uuid.data);
  }
  // Returns the slot for Writer::string() or Writer::bytes().
  constexpr std::size_t add_offset(flatbuffers::voffset_t field) noexcept {
    note(field);
    const std::size_t slot = writer_.at();
    writer_.append(std::uint32_t{0});
    return slot;
  }
  constexpr void close() noexcept {
    writer_.set(vtable_, static_cast<std::uint16_t>(vtable_bytes_));
    writer_.set(vtable_ + 2, static_cast<std::uint16_t>(writer_.at() - table_));
    writer_.align(sizeof(std::uint32_t));
  }

 private:
  constexpr void note(flatbuffers::voffset_t field) noexcept {
    PROTOCOL_DEBUG_ASSERT(field + sizeof(std::uint16_t) <= vtable_bytes_);
    writer_.set(vtable_ + field, static_cast<std::uint16_t>(writer_.at() - table_));
  }

  Writer<kStore>& writer_;
  std::size_t vtable_bytes_ = 0;
  std::size_t vtable_ = 0;
  std::size_t table_ = 0;
};

}  // namespace corelane::protocol::layout
