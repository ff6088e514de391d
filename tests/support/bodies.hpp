#pragma once
// Generic code for bodies of every kind: reads their members from a payload, by FlatBuffers'
// accessors, and compares them. protocol_samples.py checks that members match the schema's fields.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <span>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "protocol/members.hpp"
#include "protocol/message.hpp"
#include "protocol/verify.hpp"

namespace corelane::tests {

// A body whose views point into a payload, which has to outlive it.
template <class Body>
struct OpenedBody {
  Body body;
  std::deque<std::vector<std::string_view>> lists;
  protocol::AlignedScratch scratch;
};

template <class Member, class Lists>
void read_member(const flatbuffers::Table& table, flatbuffers::voffset_t field, Member& member,
                 Lists& lists) {
  using namespace protocol;
  if constexpr (std::is_same_v<Member, std::string_view>) {
    member = text_of(table.GetPointer<const flatbuffers::String*>(field));
  } else if constexpr (std::is_same_v<Member, Bytes>) {
    member = bytes_of(table.GetPointer<const flatbuffers::Vector<std::uint8_t>*>(field));
  } else if constexpr (std::is_same_v<Member, Uuid>) {
    member = from_fbs(table.GetStruct<const fbs::UUID*>(field));
  } else if constexpr (std::is_same_v<Member, std::span<const std::string_view>>) {
    using Texts = flatbuffers::Vector<flatbuffers::Offset<flatbuffers::String>>;
    for (const auto* text : *table.GetPointer<const Texts*>(field)) {
      lists.back().push_back(text_of(text));
    }
    member = lists.back();
    lists.emplace_back();
  } else if constexpr (std::is_class_v<Member>) {  // a span of structs
    using Struct = typename Member::element_type;
    const auto* items = table.GetPointer<const flatbuffers::Vector<Struct*>*>(field);
    if (items == nullptr) return;
    member = {reinterpret_cast<Struct*>(items->Data()), items->size()};
  } else {
    member = table.GetField<Member>(field, Member{});
  }
}

// Expects a valid payload with all required fields of its table.
template <class Body>
void open_body(std::span<const std::byte> payload, OpenedBody<Body>& opened) {
  const auto verified = protocol::verify_payload<typename Body::Table>(payload, opened.scratch);
  ASSERT_TRUE(verified) << protocol::opcode_name(Body::kOpcode);
  const auto& table = *reinterpret_cast<const flatbuffers::Table*>(verified.table);
  opened.lists.emplace_back();
  flatbuffers::voffset_t field = 4;
  std::apply(
      [&](auto&... member) {
        ((read_member(table, field, member, opened.lists), field += sizeof(field)), ...);
      },
      protocol::members(opened.body));
}

// A span of the schema's structs, which have no comparison.
template <class Member>
inline constexpr bool IsStructs = false;
template <class Struct>
inline constexpr bool IsStructs<std::span<const Struct>> =
    std::is_class_v<Struct> && !std::is_same_v<Struct, std::string_view>;

template <class Member>
bool same_member(const Member& a, const Member& b) {
  if constexpr (IsStructs<Member>) {
    return a.size() == b.size() &&
           (a.empty() || std::memcmp(a.data(), b.data(), a.size_bytes()) == 0);
  } else if constexpr (requires { a == b; }) {
    return a == b;
  } else {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
  }
}

template <class Body>
bool same_body(const Body& a, const Body& b) {
  return [&]<std::size_t... kIndex>(std::index_sequence<kIndex...>) {
    [[maybe_unused]] const auto left = protocol::members(a);
    [[maybe_unused]] const auto right = protocol::members(b);
    return (same_member(std::get<kIndex>(left), std::get<kIndex>(right)) && ...);
  }(std::make_index_sequence<std::tuple_size_v<decltype(protocol::members(a))>>{});
}

}  // namespace corelane::tests
