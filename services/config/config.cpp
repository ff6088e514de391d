// Merges the sources, checks what one setting alone cannot, and prints the outcome.

#include "services/config/config.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <span>

#include "services/config/source.hpp"
#include "services/config/value.hpp"
#include "ws/utf8.hpp"

namespace corelane::services::config {
namespace {

constexpr std::string_view kPrefix = "CORELANE_";
constexpr std::string_view kConfigVariable = "CORELANE_CONFIG";

// What Kubernetes puts into the environment of every container beside a service named "corelane",
// without the prefix: SERVICE_HOST, SERVICE_PORT, SERVICE_PORT_HTTP, PORT, PORT_8080_TCP_ADDR, ...
bool is_of_service_links(std::string_view name) {
  return name == "SERVICE_HOST" || name == "SERVICE_PORT" || name.starts_with("SERVICE_PORT_") ||
         name == "PORT" || name.starts_with("PORT_");
}

// Numbers as text: a duration and a size have a unit.
RawValue raw_of(const Setting& setting, const Value& value) {
  if (const auto* list = std::get_if<Texts>(&value)) return {*list, false};
  if (const auto* boolean = std::get_if<bool>(&value)) return {*boolean, false};
  if (const auto* text = std::get_if<std::string>(&value)) return {*text, false};
  const std::uint64_t number = std::get<std::uint64_t>(value);
  return {fmt::format("{}{}", number, setting.kind == SettingKind::duration ? "ns" : ""), true};
}

// Applies values in the order given: a later one wins over an earlier one, but both are checked.
void take_values(const std::vector<SourceValue>& values, ConfigResult& result) {
  for (const SourceValue& value : values) {
    const Setting& setting = *value.setting;
    const ValueProblem problem = set_value(setting, value.raw, result.config.of(setting));
    if (problem.problem.empty()) {
      result.origins[result.config.table().index_of(setting)] = origin_of(value);
      continue;
    }
    const std::string fix =
        problem.suggestion.empty() ? std::string{} : write_fix(value, problem.suggestion);
    result.errors.push_back(
        {value.where, value.shown, problem.problem, setting_allowed(setting), fix});
  }
}

}  // namespace

std::string ConfigError::text() const {
  std::string text = fmt::format("{}: {}: {}", where, setting, problem);
  if (!allowed.empty()) text += fmt::format("; allowed: {}", allowed);
  if (!fix.empty()) text += fmt::format("; fix: {}", fix);
  return text;
}

std::string ConfigResult::shown(const Setting& setting) const {
  return fmt::format("{} = {} ({})", setting_path(setting),
                     setting_toml(setting, config.of(setting)), origin_of(setting));
}

std::string origin_of(const SourceValue& value) {
  switch (value.source) {
    case Source::program:
      return value.where;
    case Source::file:
      return "file " + value.where;
    case Source::environment:
      return "environment " + value.name;
    case Source::flag:
      return "flag " + value.name;
  }
  return {};
}

std::string write_fix(const SourceValue& from, std::string_view value) {
  const SettingKind kind = from.setting->kind;
  switch (from.source) {
    case Source::environment:
      return fmt::format("{}={}", from.name, value);
    case Source::flag:
      return fmt::format("{} {}", from.name, value);
    case Source::program:
    case Source::file:
      break;
  }
  const bool is_words = kind == SettingKind::text || kind == SettingKind::list;
  const bool is_bare =
      kind == SettingKind::boolean || (!is_words && parse_count(value).value.has_value());
  const std::string text = is_bare ? std::string(value) : quote_toml(value);
  return fmt::format("{} = {}", from.name, kind == SettingKind::list ? "[" + text + "]" : text);
}

std::vector<SourceValue> read_environment_settings(const SettingTable& table,
                                                   const Environment& environment,
                                                   std::vector<std::string>& warnings) {
  std::vector<SourceValue> values;
  std::vector<std::string> known;
  std::vector<std::string> alike;  // without the prefix, which would make any two names alike
  for (const Setting& setting : table.settings()) {
    known.push_back(setting_variable(setting));
    alike.push_back(known.back().substr(kPrefix.size()));
  }
  for (const auto& [name, text] : environment) {
    if (!name.starts_with(kPrefix) || name == kConfigVariable) continue;
    const auto found = std::find(known.begin(), known.end(), name);
    if (found != known.end()) {
      const auto index = static_cast<std::size_t>(found - known.begin());
      values.push_back({&table.settings()[index],
                        Source::environment,
                        {text, true},
                        "environment",
                        name,
                        fmt::format("{}={}", name, text)});
      continue;
    }
    const std::string own_name = name.substr(kPrefix.size());
    if (is_of_service_links(own_name)) continue;
    const std::string_view nearest = nearest_name(own_name, alike);
    std::string warning = fmt::format("environment: {} is no setting and has no effect", name);
    if (!nearest.empty()) warning += fmt::format("; did you mean {}{}?", kPrefix, nearest);
    warnings.push_back(std::move(warning));
  }
  return values;
}

namespace {

std::vector<SourceValue> preset_values(const SettingTable& table, const Program& program) {
  std::vector<SourceValue> values;
  for (const Preset& preset : program.presets) {
    const Setting& setting = table.at(preset.path);
    values.push_back({&setting, Source::program, raw_of(setting, preset.value),
                      program.presets_from, std::string(setting.key),
                      fmt::format("{} = {}", setting.key, setting_toml(setting, preset.value))});
  }
  return values;
}

}  // namespace

ConfigResult load_config(const SettingTable& table, const Program& program,
                         const std::vector<std::string>& arguments, const Environment& environment,
                         const FileReader& read_file) {
  ConfigResult result(table);
  FlagSettings flags = read_flag_settings(table, program.command, arguments, result.errors);
  result.action = flags.action;
  result.help = std::move(flags.help);
  if (result.action == ConfigAction::help) return result;

  take_values(preset_values(table, program), result);
  std::string path = flags.config_path.value_or("");
  std::string path_from = "--config";
  if (!flags.config_path) {
    for (const auto& [name, text] : environment) {
      if (name == kConfigVariable) path = text;
    }
    path_from = kConfigVariable;
  } else if (path.empty()) {
    result.errors.push_back(
        {"command line", "--config \"\"", "names no file", "", "leave it out to use the defaults"});
  }
  if (!path.empty()) {
    runtime::Result<std::string> text = read_file(path);
    if (text.has_value()) {
      take_values(read_file_settings(table, path, *text, result.errors), result);
    } else {
      result.errors.push_back(
          {path, "the file of " + path_from,
           "cannot be read: " + runtime::describe(text.error()) +
               (text.error().detail == ETIMEDOUT ? " (a pipe has 5 s to bring all of it)" : ""),
           "", "correct the path, or leave it out to use the defaults"});
    }
  }
  take_values(read_environment_settings(table, environment, result.warnings), result);
  take_values(flags.values, result);
  // Settings that failed still have their defaults, so relations between them would mislead.
  if (!result.errors.empty()) return result;
  if (program.check) program.check(result);
  return result;
}

Environment process_environment() {
  Environment result;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const std::size_t equals = text.find('=');
    if (!text.starts_with(kPrefix) || equals == text.npos) continue;
    result.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  return result;
}

runtime::Result<std::string> read_whole_file(const std::string& path) {
  // Not by std::ifstream, which opens folders and hides what went wrong. Nonblocking: a FIFO that
  // nobody writes to would be waited for without an end.
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return runtime::Unexpected{runtime::Error::from_errno(errno)};
  const int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
  const itimerspec end{.it_interval = {},
                       .it_value = {.tv_sec = kConfigFileSecondsMax, .tv_nsec = 0}};
  int error = timer >= 0 && timerfd_settime(timer, 0, &end, nullptr) == 0 ? 0 : errno;
  std::string text;
  char bytes[4096];
  while (error == 0) {
    // A FIFO says that it is at its end also before the first writer comes; poll(2) knows better.
    pollfd ready[] = {{.fd = file, .events = POLLIN, .revents = 0},
                      {.fd = timer, .events = POLLIN, .revents = 0}};
    if (poll(ready, 2, -1) < 0) {
      if (errno != EINTR) error = errno;
      continue;
    }
    if (ready[1].revents != 0) error = ETIMEDOUT;
    if (ready[0].revents == 0) continue;
    const ssize_t count = read(file, bytes, sizeof bytes);
    if (count == 0) break;
    if (count > 0) text.append(bytes, static_cast<std::size_t>(count));
    if (count < 0 && errno != EINTR && errno != EAGAIN) error = errno;
    if (text.size() > kConfigFileBytesMax) error = EFBIG;
  }
  if (timer >= 0) close(timer);
  close(file);
  if (error != 0) return runtime::Unexpected{runtime::Error::from_errno(error)};
  return text;
}

std::string print_config(const ConfigResult& result) {
  std::string text;
  std::string_view section;
  for (const Setting& setting : result.config.table().settings()) {
    if (setting.section != section) {
      text += fmt::format("{}[{}]\n", section.empty() ? "" : "\n", setting.section);
      section = setting.section;
    }
    std::string origin = result.origin_of(setting);
    // A path may hold anything; a comment is UTF-8 and ends at the end of its line.
    const bool is_utf8 = ws::is_valid_utf8(std::as_bytes(std::span{origin}));
    const auto has_no_place = [&](char c) {
      return static_cast<unsigned char>(c) < ' ' || c == 0x7f || (!is_utf8 && c < 0);
    };
    std::replace_if(origin.begin(), origin.end(), has_no_place, '?');
    text += fmt::format("# {}\n{} = {}  # {}\n", setting.help, setting.key,
                        setting_toml(setting, result.config.of(setting)), origin);
  }
  return text;
}

}  // namespace corelane::services::config
