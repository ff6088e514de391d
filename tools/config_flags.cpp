// Settings from flags. The only place that includes CLI11.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "tools/config_source.hpp"
#include "tools/config_value.hpp"

namespace tools {
namespace {

constexpr const char* kCommandLine = "command line";

std::string names_for_cli11(const Setting& setting) {
  std::string names = setting_flag(setting);
  if (!setting.alias.empty()) names += "," + setting_alias(setting);
  // "!" makes a flag that means false.
  if (setting.kind == SettingKind::boolean && !setting.alias.empty()) {
    names += fmt::format(",!--no-{}", setting.alias);
  }
  return names;
}

std::string help_of(const Setting& setting) {
  std::string text = fmt::format("{} (default {}", setting.help, setting_toml(setting, {}));
  if (setting.kind == SettingKind::list) text += "; may be repeated";
  return text + ")";
}

CLI::Option* add_setting(CLI::App& app, const Setting& setting) {
  CLI::Option* option = nullptr;
  if (setting.kind == SettingKind::boolean) {
    option = app.add_flag(names_for_cli11(setting));
  } else {
    option = app.add_option(names_for_cli11(setting));
    option->type_name("");
    if (setting.kind == SettingKind::list) {
      // Each mention takes one value (or several with commas), never the words after it.
      constexpr int kValuesMax = 1000;
      option->expected(1, kValuesMax)->allow_extra_args(false);
    }
  }
  option->description(help_of(setting))->group(std::string(setting.section));
  if (setting.kind != SettingKind::list) {
    option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  }
  return option;
}

// The name by which the user gave a setting, the last time.
std::string used_name(const Setting& setting, const std::vector<std::string>& arguments) {
  const std::string no_name = fmt::format("--no-{}", setting.alias);
  std::string name = setting_flag(setting);
  for (const std::string& argument : arguments) {
    const std::string word = argument.substr(0, argument.find('='));
    const bool is_alias =
        !setting.alias.empty() && (word == setting_alias(setting) || word == no_name);
    if (is_alias || word == setting_flag(setting)) name = word;
  }
  return name;
}

SourceValue value_of(const Setting& setting, const CLI::Option& option,
                     const std::vector<std::string>& arguments) {
  SourceValue value{&setting, Source::flag, {}, kCommandLine, used_name(setting, arguments), {}};
  std::string text;
  if (setting.kind == SettingKind::list) {
    text = fmt::format("{}", fmt::join(option.results(), ","));
  } else {
    text = option.results().back();
  }
  const bool is_bare =
      setting.kind == SettingKind::boolean && (text == "true" || value.name.starts_with("--no-"));
  value.shown = is_bare ? value.name : fmt::format("{} {}", value.name, text);
  value.raw = {std::move(text), true};
  return value;
}

void report_unknown(const std::vector<std::string>& words, std::vector<ConfigError>& errors) {
  std::vector<std::string> known{"--config", "--print-config", "--check-config", "--help"};
  for (const Setting& setting : settings()) {
    known.push_back(setting_flag(setting));
    if (!setting.alias.empty()) known.push_back(setting_alias(setting));
  }
  bool after_unknown_flag = false;
  for (const std::string& word : words) {
    if (!word.starts_with("-")) {
      // Most likely the value of the unknown flag before it.
      if (!after_unknown_flag) {
        errors.push_back(
            {kCommandLine, word, "is an argument that nothing takes", "", "delete it"});
      }
      after_unknown_flag = false;
      continue;
    }
    const std::string name = word.substr(0, word.find('='));
    std::string_view nearest = nearest_name(name, known);
    if (const std::size_t dot = name.rfind('.'); nearest.empty() && dot != name.npos) {
      nearest = nearest_name("--" + name.substr(dot + 1), known);  // a short flag with a section
    }
    errors.push_back(
        {kCommandLine, name, "is no flag", "",
         nearest.empty() ? "--help lists all flags" : fmt::format("did you mean {}?", nearest)});
    after_unknown_flag = name.size() == word.size();
  }
}

void parse(CLI::App& app, std::vector<std::string> arguments, std::vector<ConfigError>& errors) {
  try {
    // CLI11 takes the arguments from the back, and takes them away.
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
    app.parse(reversed);
  } catch (const CLI::ArgumentMismatch&) {
    // Only the last flag can lack its value: each takes the word behind it, whatever it is. Without
    // it the rest can be read, and its errors told in the same run.
    app.clear();
    if (arguments.empty()) return;
    errors.push_back(
        {kCommandLine, arguments.back(), "has no value", "", "write the value behind it"});
    arguments.pop_back();
    parse(app, std::move(arguments), errors);
  } catch (const CLI::ParseError& error) {
    errors.push_back({kCommandLine, "the arguments", error.what(), "", "--help lists all flags"});
  }
}

}  // namespace

FlagSettings read_flag_settings(const std::string& command,
                                const std::vector<std::string>& arguments,
                                std::vector<ConfigError>& errors) {
  CLI::App app(
      fmt::format("{}\n\nEvery setting can also be given in a TOML file (key \"limits."
                  "message_bytes_max\": message_bytes_max below [limits]) or as a variable "
                  "(CORELANE_LIMITS_MESSAGE_BYTES_MAX). A flag wins over a variable, that over the "
                  "file.",
                  command),
      command);
  app.set_help_flag();  // ours, so that --help does not end the parsing
  app.allow_extras();
  FlagSettings result;
  CLI::Option* config = app.add_option("--config,-c")
                            ->description("TOML file to read (also: variable CORELANE_CONFIG)");
  config->type_name("FILE")->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  CLI::Option* print =
      app.add_flag("--print-config")->description("print all settings as TOML and exit");
  CLI::Option* check = app.add_flag("--check-config")->description("check all settings and exit");
  CLI::Option* help = app.add_flag("--help,-h")->description("print this text and exit");
  std::vector<CLI::Option*> options;
  options.reserve(settings().size());
  for (const Setting& setting : settings()) options.push_back(add_setting(app, setting));

  parse(app, arguments, errors);
  report_unknown(app.remaining(), errors);
  for (std::size_t i = 0; i < options.size(); ++i) {
    if (options[i]->results().empty()) continue;
    result.values.push_back(value_of(settings()[i], *options[i], arguments));
  }
  if (!config->results().empty()) result.config_path = config->results().back();
  if (print->count() != 0) result.action = ConfigAction::print_config;
  if (check->count() != 0) result.action = ConfigAction::check_config;
  if (help->count() != 0) result.action = ConfigAction::help;
  result.help = app.help();
  return result;
}

}  // namespace tools
