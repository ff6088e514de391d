#pragma once
// The places that settings come from besides their defaults: the program itself, a TOML file,
// environment variables, flags. Each source hands over what it found, unchecked and in the order of
// precedence; services/config/config.cpp checks and merges. Errors of the source itself (bad TOML,
// an unknown name) are appended to `errors`.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "services/config/config.hpp"
#include "services/config/setting.hpp"

namespace corelane::services::config {

enum class Source : std::uint8_t { program, file, environment, flag };

struct SourceValue {
  const Setting* setting = nullptr;
  Source source{};
  RawValue raw;
  std::string where;  // for errors: "corelane.toml:12", "environment", "command line"
  std::string name;   // the name used there: message_bytes_max, CORELANE_..., --max-message
  std::string shown;  // name and value as written there
};

// How `value` (text, as in ValueProblem) is written for this setting in the source it came from.
std::string write_fix(const SourceValue& from, std::string_view value);
// Where a value came from, for --print-config: "file corelane.toml:12", "flag --max-message".
std::string origin_of(const SourceValue& value);

// `path` is for messages only.
std::vector<SourceValue> read_file_settings(const SettingTable& table, const std::string& path,
                                            std::string_view text,
                                            std::vector<ConfigError>& errors);

// ["a", "b"] as TOML writes it; nothing if it is no array of texts.
std::optional<std::vector<std::string>> parse_toml_list(std::string_view text);

// Variables that are no setting end in `warnings`: the environment may hold names of other programs
// or of another version of this one, so they are no errors.
std::vector<SourceValue> read_environment_settings(const SettingTable& table,
                                                   const Environment& environment,
                                                   std::vector<std::string>& warnings);

struct FlagSettings {
  std::vector<SourceValue> values;
  std::optional<std::string> config_path;  // of --config
  ConfigAction action = ConfigAction::run;
  std::string help;  // for ConfigAction::help
};
FlagSettings read_flag_settings(const SettingTable& table, const std::string& command,
                                const std::vector<std::string>& arguments,
                                std::vector<ConfigError>& errors);

}  // namespace corelane::services::config
