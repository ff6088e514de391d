#pragma once
// A load of the configuration as a test wants it: arguments, environment and files made up.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <map>
#include <string>
#include <vector>

#include "services/config/config.hpp"
#include "services/node/settings.hpp"

namespace corelane::tests {

using Arguments = std::vector<std::string>;

struct ConfigInputs {
  Arguments arguments;
  services::config::Environment environment;
  std::map<std::string, std::string> files;
};

// The settings of a program with handlers, which has all settings. No values are stored into the
// bound options, so the options keep their defaults.
inline const services::config::SettingTable& table() {
  static services::ServerOptions options;
  static const services::config::SettingTable kTable =
      services::settings_of(options, services::ServedBy::application);
  return kTable;
}

inline services::config::ConfigResult load(const services::config::SettingTable& of,
                                           const ConfigInputs& inputs) {
  return services::config::load_config(
      of,
      {.command = "corelane serve",
       .check =
           [](services::config::ConfigResult& result) {
             services::check_settings(result, services::ServedBy::application, true);
           }},
      inputs.arguments, inputs.environment,
      [&](const std::string& path) -> runtime::Result<std::string> {
        const auto found = inputs.files.find(path);
        if (found == inputs.files.end()) {
          return runtime::Unexpected{runtime::Error::from_errno(ENOENT)};
        }
        return std::string(found->second);
      });
}

inline services::config::ConfigResult load(const ConfigInputs& inputs) {
  return load(table(), inputs);
}

inline services::config::ConfigResult load_file(const std::string& text) {
  return load({{"--config", "c.toml"}, {}, {{"c.toml", text}}});
}

// A value that differs from the default, as it is written in a variable or flag.
inline std::string other_value(const services::config::Setting& setting) {
  using Kind = services::config::SettingKind;
  const auto default_text = [&] {
    return services::config::setting_toml(setting, setting.load(setting.options));
  };
  if (setting.kind == Kind::text && setting.key == "level") return "debug";
  if (setting.kind == Kind::list && setting.key.ends_with("listen")) return "127.0.0.1:9";
  switch (setting.kind) {
    case Kind::boolean:
      return default_text() == "true" ? "false" : "true";
    case Kind::text:
    case Kind::list:
      return std::string(setting.example);
    default:
      break;
  }
  if (setting.zero_too && default_text() != "0") return "0";
  const bool is_least = setting.key == "completion_entries" || setting.key == "memory_bytes_max";
  // The largest size would be refused for the memory it takes, the smallest never is,
  // but where it has to hold what others ask for.
  const std::uint64_t value = is_least ? setting.max : setting.min;
  const std::uint64_t used = fmt::format("{}", value) == default_text() ? setting.min + 1 : value;
  return setting.kind == Kind::duration ? fmt::format("{}ns", used) : fmt::format("{}", used);
}

inline std::string errors_of(const services::config::ConfigResult& result) {
  std::string text;
  for (const services::config::ConfigError& error : result.errors) text += error.text() + "\n";
  return text;
}

inline std::string one_error(const services::config::ConfigResult& result) {
  EXPECT_EQ(result.errors.size(), 1u) << errors_of(result);
  return result.errors.empty() ? std::string{} : result.errors.front().text();
}

}  // namespace corelane::tests
