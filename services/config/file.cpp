// Settings from a TOML file. The only place that includes toml++.

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <sstream>

#include "services/config/source.hpp"
#include "services/config/value.hpp"

namespace corelane::services::config {
namespace {

std::string text_of(const toml::node& node) {
  std::ostringstream text;
  node.visit([&](const auto& value) { text << value; });
  return std::move(text).str();
}

// The value of a node. A number with a point, a date or a mixed list becomes a list that no setting
// accepts, so the setting's own check refuses it.
RawValue raw_of(const toml::node& node) {
  if (const auto* boolean = node.as_boolean()) return {boolean->get(), false};
  if (const auto* integer = node.as_integer()) return {integer->get(), false};
  if (const auto* text = node.as_string()) return {text->get(), false};
  std::vector<std::string> parts;
  if (const auto* array = node.as_array()) {
    for (const toml::node& part : *array) {
      const auto* text = part.as_string();
      parts.push_back(text != nullptr ? text->get() : text_of(part));
    }
    return {std::move(parts), false};
  }
  return {std::vector<std::string>{text_of(node)}, false};
}

class FileReaderRun {
 public:
  FileReaderRun(const SettingTable& table, const std::string& path,
                std::vector<ConfigError>& errors)
      : settings_(table.settings()), path_(path), errors_(errors) {
    for (const Setting& setting : settings_) {
      if (std::find(sections_.begin(), sections_.end(), setting.section) == sections_.end()) {
        sections_.emplace_back(setting.section);
      }
    }
  }

  void read(std::string_view text);
  std::vector<SourceValue> take_values() { return std::move(values_); }

 private:
  std::string where(const toml::node& node) const {
    return fmt::format("{}:{}", path_, node.source().begin.line);
  }
  void read_section(const std::string& section, const toml::table& table);
  void unknown_section(const std::string& name, const toml::node& node);
  void unknown_key(const std::string& section, const std::string& key, const toml::node& node);

  const std::vector<Setting>& settings_;
  const std::string& path_;
  std::vector<ConfigError>& errors_;
  std::vector<std::string> sections_;
  std::vector<SourceValue> values_;
};

void FileReaderRun::read(std::string_view text) {
  toml::table root;
  try {
    root = toml::parse(text, std::string_view(path_));
  } catch (const toml::parse_error& error) {
    errors_.push_back({fmt::format("{}:{}", path_, error.source().begin.line), "the file",
                       fmt::format("is not TOML: {}", error.description()), "",
                       "correct that line; text needs quotes, as in level = \"info\""});
    return;
  }
  for (const auto& [name, node] : root) {
    const std::string section(name.str());
    const toml::table* table = node.as_table();
    const bool is_known = std::find(sections_.begin(), sections_.end(), section) != sections_.end();
    if (table != nullptr && is_known) {
      read_section(section, *table);
    } else {
      unknown_section(section, node);
    }
  }
}

void FileReaderRun::read_section(const std::string& section, const toml::table& table) {
  for (const auto& [name, node] : table) {
    const std::string key(name.str());
    const auto found = std::find_if(
        settings_.begin(), settings_.end(),
        [&](const Setting& setting) { return setting.section == section && setting.key == key; });
    if (found == settings_.end()) {
      unknown_key(section, key, node);
      continue;
    }
    values_.push_back({&*found, Source::file, raw_of(node), where(node), key,
                       fmt::format("{} = {}", key, text_of(node))});
  }
}

void FileReaderRun::unknown_section(const std::string& name, const toml::node& node) {
  const bool is_known = std::find(sections_.begin(), sections_.end(), name) != sections_.end();
  if (is_known) {
    errors_.push_back({where(node), name, "is a section, not a key", "",
                       fmt::format("write [{}] on a line of its own", name)});
    return;
  }
  // A key outside of its section, or a section that is misspelt.
  for (const Setting& setting : settings_) {
    if (node.is_table() || setting.key != name) continue;
    errors_.push_back({where(node), name, "stands outside of its section", "",
                       fmt::format("move it below [{}]", setting.section)});
    return;
  }
  const std::string_view nearest = nearest_name(name, sections_);
  errors_.push_back({where(node), node.is_table() ? fmt::format("[{}]", name) : name,
                     node.is_table() ? "is no section" : "is no setting",
                     fmt::format("the sections {}", fmt::join(sections_, ", ")),
                     nearest.empty() || !node.is_table()
                         ? "delete it"
                         : fmt::format("did you mean [{}]?", nearest)});
}

void FileReaderRun::unknown_key(const std::string& section, const std::string& key,
                                const toml::node& node) {
  std::vector<std::string> here;
  std::vector<std::string> everywhere;
  std::string fix;
  for (const Setting& setting : settings_) {
    if (setting.section == section) here.emplace_back(setting.key);
    everywhere.push_back(setting_path(setting));
    if (setting.key == key) fix = fmt::format("move it below [{}]", setting.section);
  }
  if (fix.empty()) {
    if (const auto nearest = nearest_name(key, here); !nearest.empty()) {
      fix = fmt::format("did you mean {}?", nearest);
    } else if (const auto far = nearest_name(section + "." + key, everywhere); !far.empty()) {
      fix = fmt::format("did you mean {}?", far);
    } else {
      fix = "delete it; --help lists all settings";
    }
  }
  errors_.push_back({where(node), key, fmt::format("is no setting of [{}]", section), "", fix});
}

}  // namespace

std::vector<SourceValue> read_file_settings(const SettingTable& table, const std::string& path,
                                            std::string_view text,
                                            std::vector<ConfigError>& errors) {
  FileReaderRun run(table, path, errors);
  run.read(text);
  return run.take_values();
}

std::optional<std::vector<std::string>> parse_toml_list(std::string_view text) {
  constexpr std::string_view kKey = "list";
  toml::table root;
  try {
    root = toml::parse(fmt::format("{} = {}", kKey, text));
  } catch (const toml::parse_error&) {
    return std::nullopt;
  }
  const toml::array* array = root[kKey].as_array();
  // Behind a line break there may be more keys.
  if (array == nullptr || root.size() != 1) return std::nullopt;
  std::vector<std::string> parts;
  for (const toml::node& part : *array) {
    const auto* one = part.as_string();
    if (one == nullptr) return std::nullopt;
    parts.push_back(one->get());
  }
  return parts;
}

}  // namespace corelane::services::config
