// Settings from flags.

#include <fmt/format.h>

#include <algorithm>

#include "services/config/source.hpp"
#include "services/config/value.hpp"
#include "services/config/words.hpp"

namespace corelane::services::config {
namespace {

constexpr const char* kCommandLine = "command line";

// A name of a flag, and what it is the name of.
struct FlagName {
  enum class Of : std::uint8_t { config, print_config, check_config, help, setting, no_setting };
  Of of;
  const Setting* setting = nullptr;
};

struct Flags {
  std::vector<FlagRule> rules;
  std::vector<FlagName> names;  // as many

  void add(std::string long_name, std::string short_name, bool takes_value, FlagName name) {
    rules.push_back({std::move(long_name), std::move(short_name), takes_value});
    names.push_back(name);
  }
};

std::string negative_name(const Setting& setting) {
  const bool has_one = setting.kind == SettingKind::boolean && !setting.alias.empty();
  return has_one ? fmt::format("--no-{}", setting.alias) : std::string{};
}

Flags all_flags(const SettingTable& table) {
  using Of = FlagName::Of;
  Flags flags;
  flags.add("--config", "-c", true, {Of::config});
  flags.add("--print-config", "", false, {Of::print_config});
  flags.add("--check-config", "", false, {Of::check_config});
  flags.add("--help", "-h", false, {Of::help});
  for (const Setting& setting : table.settings()) {
    const bool takes_value = setting.kind != SettingKind::boolean;
    flags.add(setting_flag(setting), "", takes_value, {Of::setting, &setting});
    if (!setting.alias.empty()) {
      flags.add(setting_alias(setting), "", takes_value, {Of::setting, &setting});
    }
    if (const std::string no_name = negative_name(setting); !no_name.empty()) {
      flags.add(no_name, "", false, {Of::no_setting, &setting});
    }
  }
  return flags;
}

std::string help_of(const SettingTable& table, const Setting& setting) {
  std::string text =
      fmt::format("{} (default {}", setting.help, setting_toml(setting, table.default_of(setting)));
  if (setting.kind == SettingKind::list) text += "; may be repeated";
  return text + ")";
}

std::string help_text(const SettingTable& table, const std::string& command) {
  std::string text = fmt::format(
      "{0}\n\nEvery setting can also be given in a TOML file (key \"limits.message_bytes_max\": "
      "message_bytes_max\nbelow [limits]) or as a variable (CORELANE_LIMITS_MESSAGE_BYTES_MAX). A "
      "flag wins over a variable,\nthat over the file. Values are taken as they stand. In a list, "
      "a "
      "comma separates elements where\nwhat follows is one by itself; [\"a\", \"b\"] is exact.\n\n"
      "Usage: {0} [FLAGS]\n\nFlags:\n",
      command);
  text += help_line("-c,--config FILE", "TOML file to read (also: variable CORELANE_CONFIG)");
  text += help_line("--print-config", "print all settings as TOML and exit");
  text += help_line("--check-config", "check all settings and exit");
  text += help_line("-h,--help", "print this text and exit");
  std::string_view section;
  for (const Setting& setting : table.settings()) {
    if (setting.section != section) text += fmt::format("\n[{}]\n", setting.section);
    section = setting.section;
    std::string names = setting_flag(setting);
    for (const std::string& other : {setting_alias(setting), negative_name(setting)}) {
      if (!other.empty()) names += "," + other;
    }
    text += help_line(names, help_of(table, setting));
  }
  return text;
}

// The words of one setting: its last value, or all values of a list, and the name used last.
struct Given {
  std::string name;
  std::string text;
  std::vector<std::string> mentions;  // of a list
  bool is_bare = false;
};

void take_mention(const Word& word, const FlagName& name, Given& given) {
  const bool is_negative = name.of == FlagName::Of::no_setting;
  given.name = word.name;
  given.is_bare = !word.value;
  given.text = word.value.value_or(is_negative ? "false" : "true");
  if (name.setting->kind == SettingKind::list) given.mentions.push_back(given.text);
}

SourceValue value_of(const Setting& setting, Given given) {
  SourceValue value{&setting, Source::flag, {}, kCommandLine, given.name, {}};
  if (given.mentions.size() > 1) given.text = fmt::format("{}", fmt::join(given.mentions, " "));
  value.shown = given.is_bare ? given.name : fmt::format("{} {}", given.name, given.text);
  if (setting.kind == SettingKind::list) {
    value.raw = {std::move(given.mentions), true};
  } else {
    value.raw = {std::move(given.text), true};
  }
  return value;
}

class Unknown {
 public:
  Unknown(const Flags& flags, std::vector<ConfigError>& errors) : errors_(errors) {
    for (const FlagRule& rule : flags.rules) known_.push_back(rule.long_name);
  }

  void argument(const std::string& word) {
    // Most likely the value of the unknown flag before it.
    if (!after_unknown_flag_) {
      errors_.push_back({kCommandLine, word, "is an argument that nothing takes", "", "delete it"});
    }
    after_unknown_flag_ = false;
  }
  void flag(const Word& word) {
    const std::string& name = word.name;
    std::string_view nearest = nearest_name(name, known_);
    if (const std::size_t dot = name.rfind('.'); nearest.empty() && dot != name.npos) {
      nearest = nearest_name("--" + name.substr(dot + 1), known_);  // a short flag with a section
    }
    errors_.push_back(
        {kCommandLine, name, "is no flag", "",
         nearest.empty() ? "--help lists all flags" : fmt::format("did you mean {}?", nearest)});
    after_unknown_flag_ = !word.value;
  }
  void known() { after_unknown_flag_ = false; }

 private:
  std::vector<ConfigError>& errors_;
  std::vector<std::string> known_;
  bool after_unknown_flag_ = false;
};

void take_flag(const SettingTable& table, const Word& word, const FlagName& name,
               std::vector<Given>& given, FlagSettings& result, std::vector<ConfigError>& errors) {
  using Of = FlagName::Of;
  if (name.of == Of::setting) {
    return take_mention(word, name, given[table.index_of(*name.setting)]);
  }
  if (name.of == Of::config) {
    result.config_path = word.value;
    return;
  }
  if (word.value) {
    errors.push_back({kCommandLine, fmt::format("{}={}", word.name, *word.value), "takes no value",
                      "", "write " + word.name});
    return;
  }
  switch (name.of) {
    case Of::print_config:
      result.action = std::max(result.action, ConfigAction::print_config);
      break;
    case Of::check_config:
      result.action = std::max(result.action, ConfigAction::check_config);
      break;
    case Of::help:
      result.action = std::max(result.action, ConfigAction::help);
      break;
    default:
      take_mention(word, name, given[table.index_of(*name.setting)]);
      break;
  }
}

}  // namespace

FlagSettings read_flag_settings(const SettingTable& table, const std::string& command,
                                const std::vector<std::string>& arguments,
                                std::vector<ConfigError>& errors) {
  const Flags flags = all_flags(table);
  FlagSettings result;
  Unknown unknown(flags, errors);
  std::vector<Given> given(table.settings().size());
  for (const Word& word : read_words(flags.rules, arguments)) {
    switch (word.kind) {
      case Word::Kind::flag:
        unknown.known();
        take_flag(table, word, flags.names[word.flag], given, result, errors);
        break;
      case Word::Kind::argument:
        unknown.argument(*word.value);
        break;
      case Word::Kind::unknown:
        unknown.flag(word);
        break;
      case Word::Kind::lacks_value:
        errors.push_back(
            {kCommandLine, word.name, "has no value", "", "write the value behind it"});
        break;
    }
  }
  for (std::size_t i = 0; i < given.size(); ++i) {
    if (given[i].name.empty()) continue;
    result.values.push_back(value_of(table.settings()[i], std::move(given[i])));
  }
  if (result.action == ConfigAction::help) result.help = help_text(table, command);
  return result;
}

}  // namespace corelane::services::config
