#pragma once
// The table of settings: one row for everything that can be configured. Keys, variables, flags,
// help and --print-config all come from it, so that none of them can be forgotten.

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "services/config/config.hpp"

namespace corelane::services::config {

enum class SettingKind : std::uint8_t { boolean, count, bytes, duration, text, list };

// Where the value lives in a ServerConfig. Counts and sizes are both integers.
using SettingSlot =
    std::variant<bool& (*)(ServerConfig&), std::uint64_t& (*)(ServerConfig&),
                 runtime::Nanoseconds& (*)(ServerConfig&), std::string& (*)(ServerConfig&),
                 std::vector<std::string>& (*)(ServerConfig&)>;

// Why one text, or one part of a list, cannot be used; empty if it can.
using TextCheck = std::string (*)(std::string_view text);

struct Setting {
  std::string_view section;
  std::string_view key;
  std::string_view alias;  // the short flag without its dashes, "max-message"; may be empty
  SettingKind kind;
  SettingSlot slot;
  std::string_view help;
  // Counts, sizes and durations (nanoseconds): smallest and largest value.
  std::uint64_t min = 0;
  std::uint64_t max = 0;
  bool power_of_two = false;
  bool zero_too = false;          // 0 is allowed besides min..max, and means "off" or "any"
  TextCheck check = nullptr;      // texts and parts of lists
  std::string_view allowed = "";  // texts and lists: what is allowed, in words
  std::string_view example = "";  // texts and lists: one that is
};

const std::vector<Setting>& settings();

std::string setting_path(const Setting& setting);      // limits.message_bytes_max
std::string setting_flag(const Setting& setting);      // --limits.message-bytes-max
std::string setting_alias(const Setting& setting);     // --max-message, or empty
std::string setting_variable(const Setting& setting);  // CORELANE_LIMITS_MESSAGE_BYTES_MAX

// "1 to 1GiB" and the like.
std::string setting_allowed(const Setting& setting);
// The value in `config` as TOML: 1024, "1MiB", true, ["a", "b"].
std::string setting_toml(const Setting& setting, const ServerConfig& config);
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
// Checks the value and puts it into `config`; leaves `config` as it is if it cannot be used.
ValueProblem set_value(const Setting& setting, const RawValue& raw, ServerConfig& config);

}  // namespace corelane::services::config
