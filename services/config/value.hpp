#pragma once
// Values as people write them in files, variables and flags: sizes ("64KiB"), times ("250ms"),
// counts, yes and no. Pure functions on text; a value that does not parse comes with the reason
// and, where the intention can be guessed, with what to write instead.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/types.hpp"

namespace corelane::services::config {

template <class T>
struct Parsed {
  std::optional<T> value;
  std::string problem;     // why there is no value
  std::string suggestion;  // a text that would parse; may be empty
};

// "65536", "64KiB", "1MiB", "2GiB"; powers of 1024 only, so that "64KB" cannot mean two things.
Parsed<std::uint64_t> parse_bytes(std::string_view text);
// "250ms", "10s", "2m", "1h", "20us", "500ns"; a unit is needed, except for "0".
Parsed<runtime::Nanoseconds> parse_duration(std::string_view text);
Parsed<std::uint64_t> parse_count(std::string_view text);
// true, false, and what people write instead: yes, no, on, off, 1, 0.
Parsed<bool> parse_boolean(std::string_view text);
// "a, b,c": the parts without blanks around the commas, empty ones left out. A comma separates two
// parts only where what follows is an element by itself, so that an element with commas in it can
// be written as it stands: "unix:/run/a,b" is one address, "127.0.0.1:1,[::1]:1" are two.
using IsElement = std::function<bool(std::string_view)>;
std::vector<std::string> split_list(std::string_view text, const IsElement& is_element);
// Written as an array, ["a", "b"], for what a comma would part: no element begins like this.
bool is_array(std::string_view text);

// The shortest text that parses to the same value: "1MiB", "1500ms".
std::string format_bytes(std::uint64_t bytes);
std::string format_duration(runtime::Nanoseconds duration);

// The name most like `name`, if one is alike enough to be what was meant; else empty.
std::string_view nearest_name(std::string_view name, const std::vector<std::string>& names);

}  // namespace corelane::services::config
