#pragma once
// The members of a body as a tuple, in the order of their declaration, so that one function lays,
// and one test reads, bodies of every kind. For aggregates of up to ten members.

#include <cstddef>
#include <tuple>
#include <type_traits>

namespace corelane::protocol {
namespace detail {

struct AnyMember {
  template <class T>
  operator T() const;
};

template <class Body, class... Members>
consteval std::size_t member_count() noexcept {
  if constexpr (requires { Body{Members{}..., AnyMember{}}; }) {
    return member_count<Body, Members..., AnyMember>();
  } else {
    return sizeof...(Members);
  }
}

}  // namespace detail

// A tuple of references to the members; const references for a const body.
template <class Body>
constexpr auto members(Body& body) noexcept {
  constexpr std::size_t kCount = detail::member_count<std::remove_const_t<Body>>();
  static_assert(kCount <= 10, "more members need more arms");
  if constexpr (kCount == 0) {
    return std::tie();
  } else if constexpr (kCount == 1) {
    auto& [a] = body;
    return std::tie(a);
  } else if constexpr (kCount == 2) {
    auto& [a, b] = body;
    return std::tie(a, b);
  } else if constexpr (kCount == 3) {
    auto& [a, b, c] = body;
    return std::tie(a, b, c);
  } else if constexpr (kCount == 4) {
    auto& [a, b, c, d] = body;
    return std::tie(a, b, c, d);
  } else if constexpr (kCount == 5) {
    auto& [a, b, c, d, e] = body;
    return std::tie(a, b, c, d, e);
  } else if constexpr (kCount == 6) {
    auto& [a, b, c, d, e, f] = body;
    return std::tie(a, b, c, d, e, f);
  } else if constexpr (kCount == 7) {
    auto& [a, b, c, d, e, f, g] = body;
    return std::tie(a, b, c, d, e, f, g);
  } else if constexpr (kCount == 8) {
    auto& [a, b, c, d, e, f, g, h] = body;
    return std::tie(a, b, c, d, e, f, g, h);
  } else if constexpr (kCount == 9) {
    auto& [a, b, c, d, e, f, g, h, i] = body;
    return std::tie(a, b, c, d, e, f, g, h, i);
  } else {
    auto& [a, b, c, d, e, f, g, h, i, j] = body;
    return std::tie(a, b, c, d, e, f, g, h, i, j);
  }
}

}  // namespace corelane::protocol
