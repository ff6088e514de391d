#include "services/config/value.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <limits>
#include <numeric>

namespace corelane::services::config {
namespace {

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

constexpr Unit kByteUnits[] = {
    {"TiB", std::uint64_t{1} << 40},
    {"GiB", std::uint64_t{1} << 30},
    {"MiB", std::uint64_t{1} << 20},
    {"KiB", std::uint64_t{1} << 10},
    {"B", 1},
};
constexpr Unit kTimeUnits[] = {
    {"h", 3'600'000'000'000}, {"m", 60'000'000'000}, {"s", 1'000'000'000},
    {"ms", 1'000'000},        {"us", 1'000},         {"ns", 1},
};

struct NumberAndUnit {
  std::optional<std::uint64_t> number;
  std::string_view unit;
};

NumberAndUnit split_unit(std::string_view text) {
  std::uint64_t number = 0;
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  const auto [rest, error] = std::from_chars(begin, end, number);
  if (error != std::errc{}) return {};
  std::string_view unit(rest, static_cast<std::size_t>(end - rest));
  while (unit.starts_with(' ')) unit.remove_prefix(1);
  return {number, unit};
}

template <std::size_t kCount>
const Unit* find_unit(const Unit (&units)[kCount], std::string_view name) {
  const auto* found = std::find_if(std::begin(units), std::end(units),
                                   [&](const Unit& unit) { return unit.name == name; });
  return found == std::end(units) ? nullptr : found;
}

template <class T>
Parsed<T> scaled(std::uint64_t number, const Unit& unit) {
  if (number > static_cast<std::uint64_t>(std::numeric_limits<T>::max()) / unit.factor) {
    return {{}, "is too large", {}};
  }
  return {static_cast<T>(number * unit.factor), {}, {}};
}

char lower(char letter) {
  return letter >= 'A' && letter <= 'Z' ? char(letter + 32) : letter;
}

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(), [](char c) { return lower(c); });
  return result;
}

template <std::size_t kCount>
std::string format_scaled(const Unit (&units)[kCount], std::uint64_t value) {
  for (const Unit& unit : units) {
    if (value >= unit.factor && value % unit.factor == 0) {
      return fmt::format("{}{}", value / unit.factor, unit.name);
    }
  }
  return "0";
}

// Letters to add, drop, change or swap to make one word of the other (Damerau's distance, without
// changing a letter twice).
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1);
  std::vector<std::size_t> last(b.size() + 1);
  std::vector<std::size_t> now(b.size() + 1);
  std::iota(last.begin(), last.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    now[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      now[j] = std::min({last[j] + 1, now[j - 1] + 1, change});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        now[j] = std::min(now[j], before[j - 2] + 1);
      }
    }
    before.swap(last);
    last.swap(now);
  }
  return last[b.size()];
}

}  // namespace

Parsed<std::uint64_t> parse_bytes(std::string_view text) {
  const auto [number, unit] = split_unit(text);
  if (!number) return {{}, "is no size", {}};
  if (unit.empty()) return {number, {}, {}};
  if (const Unit* known = find_unit(kByteUnits, unit))
    return scaled<std::uint64_t>(*number, *known);
  Parsed<std::uint64_t> result{{}, fmt::format("\"{}\" is no unit of size", unit), {}};
  for (const Unit& candidate : kByteUnits) {
    // "k", "kb", "KB", "kib" are all meant as KiB here.
    const std::string letters = lower(unit);
    const std::string name = lower(candidate.name);
    if (letters == name || letters == name.substr(0, 1) || letters == name.substr(0, 1) + "b") {
      result.suggestion = fmt::format("{}{}", *number, candidate.name);
      break;
    }
  }
  return result;
}

Parsed<runtime::Nanoseconds> parse_duration(std::string_view text) {
  const auto [number, unit] = split_unit(text);
  if (!number) return {{}, "is no length of time", {}};
  if (unit.empty()) {
    if (*number == 0) return {runtime::Nanoseconds{0}, {}, {}};
    return {{}, "has no unit", fmt::format("{}s", *number)};
  }
  if (const Unit* known = find_unit(kTimeUnits, unit)) {
    return scaled<runtime::Nanoseconds>(*number, *known);
  }
  Parsed<runtime::Nanoseconds> result{{}, fmt::format("\"{}\" is no unit of time", unit), {}};
  const std::string letters = lower(unit);
  if (letters.starts_with("sec") || letters == "s") result.suggestion = fmt::format("{}s", *number);
  if (letters.starts_with("min") || letters == "m") result.suggestion = fmt::format("{}m", *number);
  if (letters.starts_with("hour") || letters == "h")
    result.suggestion = fmt::format("{}h", *number);
  return result;
}

Parsed<std::uint64_t> parse_count(std::string_view text) {
  const auto [number, unit] = split_unit(text);
  if (!number || !unit.empty()) return {{}, "is no whole number", {}};
  return {number, {}, {}};
}

Parsed<bool> parse_boolean(std::string_view text) {
  const std::string word = lower(text);
  if (word == "true" || word == "yes" || word == "on" || word == "1") return {true, {}, {}};
  if (word == "false" || word == "no" || word == "off" || word == "0") return {false, {}, {}};
  return {{}, "is neither true nor false", "true"};
}

std::vector<std::string> split_list(std::string_view text, const IsElement& is_element) {
  std::vector<std::string> parts;
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::size_t comma = rest.find(',');
    const std::string_view as_written = rest.substr(0, comma);
    rest.remove_prefix(comma == rest.npos ? rest.size() : comma + 1);
    std::string_view part = as_written;
    while (part.starts_with(' ')) part.remove_prefix(1);
    while (part.ends_with(' ')) part.remove_suffix(1);
    if (part.empty()) continue;
    if (parts.empty() || is_element(part)) {
      parts.emplace_back(part);
    } else {
      parts.back() += fmt::format(",{}", as_written);
    }
  }
  // One alone is taken as it stands, with blanks and commas at its ends.
  if (parts.size() == 1 && is_element(text)) parts.front() = text;
  return parts;
}

bool is_array(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  if (!text.starts_with('[')) return false;
  text.remove_prefix(1);
  while (text.starts_with(' ')) text.remove_prefix(1);
  return text.starts_with('"') || text.starts_with('\'') || text.starts_with(']');
}

std::string format_bytes(std::uint64_t bytes) {
  const std::string text = format_scaled(kByteUnits, bytes);
  return text.ends_with("iB") ? text : fmt::format("{}", bytes);
}

std::string format_duration(runtime::Nanoseconds duration) {
  return format_scaled(kTimeUnits, static_cast<std::uint64_t>(duration));
}

std::string_view nearest_name(std::string_view name, const std::vector<std::string>& names) {
  // A third of the letters may be wrong; beyond that a suggestion is a guess.
  std::size_t best_distance = std::max<std::size_t>(2, name.size() / 3) + 1;
  std::string_view best;
  for (const std::string& candidate : names) {
    const std::size_t letters = distance(lower(name), lower(candidate));
    if (letters < best_distance) {
      best_distance = letters;
      best = candidate;
    }
  }
  return best;
}

}  // namespace corelane::services::config
