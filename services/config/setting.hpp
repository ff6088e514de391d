#pragma once
// A setting: its names, what it may be, and the option that it sets. Rows of settings stand beside
// the options (services/config/rows.hpp makes them); everything that is said of a setting comes
// from its row: keys, variables, flags, help, --print-config, errors.

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace corelane::services::config {

enum class SettingKind : std::uint8_t { boolean, count, bytes, duration, text, list };

// Counts, sizes and durations (nanoseconds) are numbers.
using Value = std::variant<bool, std::uint64_t, std::string, std::vector<std::string>>;

// Why one text, or one part of a list, cannot be used; empty if it can.
using TextCheck = std::string (*)(std::string_view text);

struct Setting {
  std::string_view section;
  std::string_view key;
  std::string_view alias;  // the short flag without its dashes, "max-message"; may be empty
  SettingKind kind{};
  std::string_view help;
  // Counts, sizes and durations (nanoseconds): smallest and largest value.
  std::uint64_t min = 0;
  std::uint64_t max = 0;
  bool power_of_two = false;
  bool zero_too = false;          // 0 is allowed besides min..max, and means "off" or "any"
  TextCheck check = nullptr;      // texts and parts of lists
  std::string_view allowed = "";  // texts and lists: what is allowed, in words
  std::string_view example = "";  // texts and lists: one that is
  // Puts a checked value into the options that the row is of, and reads what is there.
  void (*store)(void* options, const Value& value) = nullptr;
  Value (*load)(const void* options) = nullptr;
  // The options; null if this program has nothing that takes the setting.
  void* options = nullptr;
  // Sets one option more by the setting of this name, and has nothing else.
  bool follows = false;
};

std::string setting_path(const Setting& setting);      // limits.message_bytes_max
std::string setting_flag(const Setting& setting);      // --limits.message-bytes-max
std::string setting_alias(const Setting& setting);     // --max-message, or empty
std::string setting_variable(const Setting& setting);  // CORELANE_LIMITS_MESSAGE_BYTES_MAX

// "1 to 1GiB" and the like.
std::string setting_allowed(const Setting& setting);
// A value of the setting as TOML: 1024, "1MiB", true, ["a", "b"].
std::string setting_toml(const Setting& setting, const Value& value);
std::string quote_toml(std::string_view text);

// A value from a source, before it is understood.
struct RawValue {
  std::variant<bool, std::int64_t, std::string, std::vector<std::string>> value;
  // Variables and flags are text: "5", "true" and "a,b" stand for a number, a boolean and a list;
  // a flag of a list may have been given several times. In a file these have types of their own.
  bool is_text_only = false;
};

struct ValueProblem {
  std::string problem;     // empty if the value was taken
  std::string suggestion;  // a value that would be taken, as text; may be empty
};
// Checks the value and puts it into `to`; leaves `to` as it is if it cannot be used.
ValueProblem set_value(const Setting& setting, const RawValue& raw, Value& to);

}  // namespace corelane::services::config
