#pragma once
// Small pieces of JSON and arithmetic that several reports need. Pure functions.

#include <cstdint>
#include <string>
#include <string_view>

namespace corelane::perf {

// A JSON string: quotes and control characters have no place in what comes here (URLs, names,
// sentences of ours), so control characters are left out.
inline std::string quoted(std::string_view text) {
  std::string clean = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') clean += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) clean += c;
  }
  return clean + '"';
}

inline double to_double(std::uint64_t value) noexcept {
  return static_cast<double>(value);
}
// 0 if there is nothing to divide by.
inline double ratio(double of, double to) noexcept {
  return to == 0 ? 0 : of / to;
}
inline double in_us(std::uint64_t ns) noexcept {
  return static_cast<double>(ns) / 1e3;
}

}  // namespace corelane::perf
