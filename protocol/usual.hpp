#pragma once
// What the tables of our own frames look like, laid by the compiler with empty fields (lay.hpp):
// their first bytes, by which a usual table is recognized, and where its fields are. Private to
// this folder. The tests hold it against frames that write_frame() has written.

#include <array>
#include <cstddef>
#include <cstdint>

#include "protocol/lay.hpp"

namespace corelane::protocol::layout {

// A buffer whose root is one table. Positions count from its start.
template <std::size_t kBytes>
struct Laid {
  std::array<std::byte, kBytes> bytes{};

  constexpr std::size_t table() const noexcept { return load<std::uint32_t>(bytes.data()); }
  constexpr std::size_t at(flatbuffers::voffset_t field) const noexcept {
    return table() + load<std::uint16_t>(&bytes[vtable() + field]);
  }
  // The position to which this field's offset points: the count of a vector.
  constexpr std::size_t target(flatbuffers::voffset_t field) const noexcept {
    return at(field) + load<std::uint32_t>(&bytes[at(field)]);
  }
  constexpr std::size_t table_end() const noexcept {
    return table() + load<std::uint16_t>(&bytes[vtable() + sizeof(std::uint16_t)]);
  }
  // Bytes that are the same in each such table: up to the end of its way back to its vtable.
  constexpr std::size_t front_bytes() const noexcept { return table() + sizeof(std::int32_t); }

 private:
  constexpr std::size_t vtable() const noexcept {
    return table() - static_cast<std::size_t>(load<std::int32_t>(&bytes[table()]));
  }
};

template <class Body>
struct LayBody {
  template <bool kStore>
  static constexpr void lay(Writer<kStore>& out) noexcept {
    lay_payload(out, Body{});
  }
};

template <bool kWithPublisher>
struct LayEvent {
  template <bool kStore>
  static constexpr void lay(Writer<kStore>& out) noexcept {
    lay_event(out, EventBody{}, kWithPublisher);
  }
};

template <class Lay>
consteval std::size_t laid_bytes() noexcept {
  Writer<false> out(nullptr);
  Lay::lay(out);
  return out.at();
}

template <class Lay>
consteval auto laid() noexcept {
  Laid<laid_bytes<Lay>()> result;
  Writer<true> out(result.bytes.data());
  Lay::lay(out);
  return result;
}

// The Message of a frame with an empty payload, behind the frame's size.
template <Carries kCarries>
consteval auto laid_message_of() noexcept {
  constexpr auto kEmpty = [](auto&) {};
  constexpr std::size_t kFrameBytes =
      lay_envelope<false>(nullptr, MessageHeader{}, Opcode::None, kCarries, kEmpty);
  std::array<std::byte, kFrameBytes> frame{};
  lay_envelope<true>(frame.data(), MessageHeader{}, Opcode::None, kCarries, kEmpty);
  Laid<kFrameBytes - kFrameSizeBytes> result;
  for (std::size_t i = 0; i < result.bytes.size(); ++i) {
    result.bytes[i] = frame[kFrameSizeBytes + i];
  }
  return result;
}

// The front of a Laid, as an array of its own.
template <const auto& kLaid>
consteval auto front_of() noexcept {
  std::array<std::byte, kLaid.front_bytes()> front{};
  for (std::size_t i = 0; i < front.size(); ++i) front[i] = kLaid.bytes[i];
  return front;
}

}  // namespace corelane::protocol::layout
