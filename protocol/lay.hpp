#pragma once
// How each body is laid, private to this folder: the one description of the frames that we build.
// message.cpp writes them with it, and usual.hpp has the compiler lay those that are recognized.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include "protocol/assert.hpp"
#include "protocol/frame.hpp"
#include "protocol/layout.hpp"
#include "protocol/members.hpp"
#include "protocol/message.hpp"

namespace corelane::protocol::layout {

// The order of a table's fields: widest first, so that none needs padding. Offsets come before
// numbers of 4 bytes. A UUID needs no alignment; it comes before fields of 2 bytes and 1 byte.
enum class Rank : std::uint8_t { eight_bytes, offset, four_bytes, uuid, two_bytes, one_byte };

template <class T>
consteval Rank rank_of() noexcept {
  if constexpr (std::is_same_v<T, Uuid>) return Rank::uuid;
  if constexpr (!std::is_integral_v<T> && !std::is_enum_v<T>) return Rank::offset;
  if constexpr (sizeof(T) == 8) return Rank::eight_bytes;
  if constexpr (sizeof(T) == 4) return Rank::four_bytes;
  return sizeof(T) == 2 ? Rank::two_bytes : Rank::one_byte;
}

// Adds a field of rank kRank; `slot` gets the slot of a value that lies behind the table.
template <Rank kRank, bool kStore, class T>
[[gnu::always_inline]] constexpr void add_of_rank(Table<kStore>& table,
                                                  flatbuffers::voffset_t field, const T& value,
                                                  std::size_t& slot) noexcept {
  if constexpr (rank_of<T>() == kRank) {
    if constexpr (kRank == Rank::offset) {
      slot = table.add_offset(field);
    } else if constexpr (std::is_same_v<T, bool>) {
      table.add(field, std::uint8_t{value});
    } else if constexpr (std::is_enum_v<T>) {
      table.add(field, static_cast<std::underlying_type_t<T>>(value));
    } else {
      table.add(field, value);
    }
  }
}

// Lays a value that lies behind the table; does nothing for a number.
template <bool kStore, class T>
[[gnu::always_inline]] constexpr void lay_behind(Writer<kStore>& out, std::size_t slot,
                                                 const T& value) noexcept {
  if constexpr (std::is_same_v<T, std::string_view>) {
    out.string(slot, value);
  } else if constexpr (std::is_same_v<T, Bytes>) {
    out.bytes(slot, value);
  } else if constexpr (std::is_same_v<T, std::span<const std::string_view>>) {
    out.strings(slot, value);
  } else if constexpr (rank_of<T>() == Rank::offset) {
    out.structs(slot, value);
  }
}

// The number of a table's i-th field, as in the generated VT_ constants.
constexpr flatbuffers::voffset_t field_at(std::size_t i) noexcept {
  return static_cast<flatbuffers::voffset_t>(4 + 2 * i);
}

template <Rank kRank, bool kStore, class Fields, std::size_t kCount, std::size_t... kIndex>
[[gnu::always_inline]] constexpr void add_all_of_rank(Table<kStore>& table, const Fields& fields,
                                                      std::array<std::size_t, kCount>& slots,
                                                      std::index_sequence<kIndex...>) noexcept {
  (add_of_rank<kRank>(table, field_at(kIndex), std::get<kIndex>(fields), slots[kIndex]), ...);
}

template <bool kStore, class Fields, std::size_t... kIndex>
[[gnu::always_inline]] constexpr void lay_fields(Writer<kStore>& out, const Fields& fields,
                                                 std::index_sequence<kIndex...> all) noexcept {
  constexpr std::size_t kCount = sizeof...(kIndex);
  std::array<std::size_t, kCount> slots{};
  Table<kStore> table(out, kCount == 0 ? flatbuffers::voffset_t{0} : field_at(kCount - 1));
  add_all_of_rank<Rank::eight_bytes>(table, fields, slots, all);
  add_all_of_rank<Rank::offset>(table, fields, slots, all);
  add_all_of_rank<Rank::four_bytes>(table, fields, slots, all);
  add_all_of_rank<Rank::uuid>(table, fields, slots, all);
  add_all_of_rank<Rank::two_bytes>(table, fields, slots, all);
  add_all_of_rank<Rank::one_byte>(table, fields, slots, all);
  table.close();
  (lay_behind(out, slots[kIndex], std::get<kIndex>(fields)), ...);
}

// Lays any body whose members are the fields of its table. It calls functions that are always
// inlined. clang 19 did not inline lambdas here: a frame then cost 335 instructions instead of
// 187.
template <bool kStore, class Body>
[[gnu::always_inline]] constexpr void lay_payload(Writer<kStore>& out, const Body& body) noexcept {
  constexpr std::size_t kCount = std::tuple_size_v<decltype(members(body))>;
  lay_fields(out, members(body), std::make_index_sequence<kCount>{});
}

template <bool kStore>
[[gnu::always_inline]] constexpr void lay_event(Writer<kStore>& out, const EventBody& body,
                                                bool with_publisher) noexcept {
  using T = fbs::ChannelEvent;
  Table<kStore> table(out, with_publisher ? T::VT_PUBLISHER : T::VT_DATA);
  table.add(T::VT_EPOCH, body.epoch);
  table.add(T::VT_OFFSET, body.offset);
  const std::size_t channel = table.add_offset(T::VT_CHANNEL);
  const std::size_t data = table.add_offset(T::VT_DATA);
  if (with_publisher) table.add(T::VT_PUBLISHER, body.publisher);
  table.close();
  out.string(channel, body.channel);
  out.bytes(data, body.data);
}

template <bool kStore>
[[gnu::always_inline]] constexpr void lay_payload(Writer<kStore>& out,
                                                  const EventBody& body) noexcept {
  lay_event(out, body, !body.publisher.is_nil());
}

template <bool kStore>
[[gnu::always_inline]] constexpr void lay_payload(Writer<kStore>& out,
                                                  const RawBody& body) noexcept {
  out.append_bytes(body.payload.data(), body.payload.size());
}

// Which of its optional fields a frame carries.
struct Carries {
  bool transaction_id;
  bool trace;
};

template <bool kStore, class Lay>
[[gnu::always_inline]] constexpr std::size_t lay_envelope(std::byte* base,
                                                          const MessageHeader& header,
                                                          Opcode opcode, Carries carries,
                                                          const Lay& lay) noexcept {
  using T = fbs::Message;
  Writer<kStore> out(base);
  out.append(std::uint32_t{0});
  Table<kStore> message(out, carries.trace ? T::VT_SPAN_ID : T::VT_TIMESTAMP);
  message.add(T::VT_TIMESTAMP, header.timestamp);
  if (carries.trace) message.add(T::VT_SPAN_ID, header.span_id);
  const std::size_t payload = message.add_offset(T::VT_PAYLOAD);
  if (carries.transaction_id) message.add(T::VT_TRANSACTION_ID, header.transaction_id);
  if (carries.trace) message.add(T::VT_TRACE_ID, header.trace_id);
  message.add(T::VT_OPCODE, number(opcode));
  message.close();
  // The payload starts at a multiple of 8, right behind its length.
  out.align(8, sizeof(std::uint32_t));
  const std::size_t payload_bytes_at = out.at();
  out.begin_vector(payload, 0);
  const std::size_t payload_at = out.at();
  lay(out);
  out.set(payload_bytes_at, static_cast<std::uint32_t>(out.at() - payload_at));
  PROTOCOL_DEBUG_ASSERT(payload_at % 8 == 0);
  out.skip_to(8);
  out.set(0, static_cast<std::uint32_t>(out.at() - kFrameSizeBytes));
  return out.at();
}

}  // namespace corelane::protocol::layout
