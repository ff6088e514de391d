#pragma once
// Makes rows of settings, for a table beside the options that they set:
//
//   constexpr config::Row<PubSubOptions> kSettings[] = {
//       config::count<&PubSubOptions::channels_max>({"limits", "channels_max", "max-channels"},
//                                                   {1, 100'000'000}, "most channels of a core"),
//   };
//
// A member of a member is named by both, outermost first. The default of a setting is what the
// options hold when the row is added to a table (services/config/table.hpp). An option of another
// type than the setting's value is set by a function (`..._by`), which then has a default of its
// own.

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "runtime/assert.hpp"
#include "runtime/types.hpp"
#include "services/config/setting.hpp"

namespace corelane::services::config {

inline constexpr std::uint64_t kKiB = 1024;
inline constexpr std::uint64_t kMiB = 1024 * kKiB;
inline constexpr std::uint64_t kGiB = 1024 * kMiB;
inline constexpr std::uint64_t kMinute = 60 * runtime::kSecond;
inline constexpr std::uint64_t kHour = 60 * kMinute;

using Texts = std::vector<std::string>;

// A setting whose `store` and `load` take an Options.
template <class Options>
struct Row {
  Setting setting;
};

struct Name {
  std::string_view section;
  std::string_view key;
  std::string_view alias = {};
};

struct Range {
  std::uint64_t min;
  std::uint64_t max;
  bool zero_too = false;
};
inline constexpr bool kZeroToo = true;

struct TextRule {
  TextCheck check;
  std::string_view allowed;
  std::string_view example;
};

namespace detail {

template <class Pointer>
struct MemberOf;
template <class Owner, class Member>
struct MemberOf<Member Owner::*> {
  using Options = Owner;
};
template <class Owner, class Argument>
struct MemberOf<void (*)(Owner&, Argument)> {
  using Options = Owner;
};
template <auto... kPath>
struct Path;
template <auto kFirst, auto... kRest>
struct Path<kFirst, kRest...> : MemberOf<decltype(kFirst)> {};
template <auto... kPath>
using OptionsOf = typename Path<kPath...>::Options;

template <auto kFirst, auto... kRest, class Object>
auto& member(Object& object) noexcept {
  if constexpr (sizeof...(kRest) == 0) {
    return object.*kFirst;
  } else {
    return member<kRest...>(object.*kFirst);
  }
}

template <auto... kPath>
void store(void* options, const Value& value) {
  auto& to = member<kPath...>(*static_cast<OptionsOf<kPath...>*>(options));
  using Type = std::decay_t<decltype(to)>;
  if constexpr (std::is_integral_v<Type> && !std::is_same_v<Type, bool>) {
    const auto number = std::get<std::uint64_t>(value);
    to = static_cast<Type>(number);
    RT_ASSERT(static_cast<std::uint64_t>(to) == number);  // the row's range sees to it
  } else {
    to = std::get<Type>(value);
  }
}

template <auto... kPath>
Value load(const void* options) {
  const auto& from = member<kPath...>(*static_cast<const OptionsOf<kPath...>*>(options));
  using Type = std::decay_t<decltype(from)>;
  if constexpr (std::is_integral_v<Type> && !std::is_same_v<Type, bool>) {
    return static_cast<std::uint64_t>(from);
  } else {
    return from;
  }
}

template <auto kStore, class Type>
void store_by(void* options, const Value& value) {
  kStore(*static_cast<OptionsOf<kStore>*>(options), std::get<Type>(value));
}

template <auto... kPath>
constexpr Row<OptionsOf<kPath...>> row(SettingKind kind, Name name, std::string_view help) {
  Setting setting{
      .section = name.section, .key = name.key, .alias = name.alias, .kind = kind, .help = help};
  setting.store = store<kPath...>;
  setting.load = load<kPath...>;
  return {setting};
}

template <class Options>
constexpr Row<Options> within(Row<Options> row, Range range, bool power_of_two = false) {
  row.setting.min = range.min;
  row.setting.max = range.max;
  row.setting.zero_too = range.zero_too;
  row.setting.power_of_two = power_of_two;
  return row;
}

template <class Options>
constexpr Row<Options> checked(Row<Options> row, TextRule rule) {
  row.setting.check = rule.check;
  row.setting.allowed = rule.allowed;
  row.setting.example = rule.example;
  return row;
}

template <auto kStore, class Type>
constexpr Row<OptionsOf<kStore>> row_by(SettingKind kind, Name name, Value (*initial)(const void*),
                                        std::string_view help) {
  Setting setting{
      .section = name.section, .key = name.key, .alias = name.alias, .kind = kind, .help = help};
  setting.store = store_by<kStore, Type>;
  setting.load = initial;
  return {setting};
}

}  // namespace detail

template <auto... kPath>
constexpr auto count(Name name, Range range, std::string_view help) {
  return detail::within(detail::row<kPath...>(SettingKind::count, name, help), range);
}
// A count that is a power of two.
template <auto... kPath>
constexpr auto power(Name name, Range range, std::string_view help) {
  return detail::within(detail::row<kPath...>(SettingKind::count, name, help), range, true);
}
template <auto... kPath>
constexpr auto bytes(Name name, Range range, std::string_view help) {
  return detail::within(detail::row<kPath...>(SettingKind::bytes, name, help), range);
}
template <auto... kPath>
constexpr auto duration(Name name, Range range, std::string_view help) {
  return detail::within(detail::row<kPath...>(SettingKind::duration, name, help), range);
}
template <auto... kPath>
constexpr auto boolean(Name name, std::string_view help) {
  return detail::row<kPath...>(SettingKind::boolean, name, help);
}
template <auto... kPath>
constexpr auto text(Name name, TextRule rule, std::string_view help) {
  return detail::checked(detail::row<kPath...>(SettingKind::text, name, help), rule);
}
template <auto... kPath>
constexpr auto list(Name name, TextRule rule, std::string_view help) {
  return detail::checked(detail::row<kPath...>(SettingKind::list, name, help), rule);
}

// By void kStore(Options&, value); `initial` gives the default.
template <auto kStore>
constexpr auto bytes_by(Name name, Range range, Value (*initial)(const void*),
                        std::string_view help) {
  return detail::within(
      detail::row_by<kStore, std::uint64_t>(SettingKind::bytes, name, initial, help), range);
}
template <auto kStore>
constexpr auto text_by(Name name, TextRule rule, Value (*initial)(const void*),
                       std::string_view help) {
  return detail::checked(
      detail::row_by<kStore, std::string>(SettingKind::text, name, initial, help), rule);
}
template <auto kStore>
constexpr auto list_by(Name name, TextRule rule, Value (*initial)(const void*),
                       std::string_view help) {
  return detail::checked(detail::row_by<kStore, Texts>(SettingKind::list, name, initial, help),
                         rule);
}

// The option takes the value of a setting whose row stands beside another option.
template <auto... kPath>
constexpr auto follows(std::string_view section, std::string_view key) {
  auto row = detail::row<kPath...>(SettingKind::count, {section, key}, "");
  row.setting.follows = true;
  return row;
}

}  // namespace corelane::services::config
