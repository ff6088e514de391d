#pragma once
// A load of the configuration as a test wants it: arguments, environment and files made up.

#include <gtest/gtest.h>

#include <cerrno>
#include <map>
#include <string>
#include <vector>

#include "services/config/config.hpp"

namespace corelane::tests {

using Arguments = std::vector<std::string>;

struct ConfigInputs {
  Arguments arguments;
  services::config::Environment environment;
  std::map<std::string, std::string> files;
};

inline services::config::ConfigResult load(const ConfigInputs& inputs) {
  return services::config::load_config(
      "corelane serve", inputs.arguments, inputs.environment,
      [&](const std::string& path) -> runtime::Result<std::string> {
        const auto found = inputs.files.find(path);
        if (found == inputs.files.end()) {
          return runtime::Unexpected{runtime::Error::from_errno(ENOENT)};
        }
        return std::string(found->second);
      });
}

inline services::config::ConfigResult load_file(const std::string& text) {
  return load({{"--config", "c.toml"}, {}, {{"c.toml", text}}});
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
