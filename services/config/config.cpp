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

#include "runtime/address.hpp"
#include "services/config/effect.hpp"
#include "services/config/schema.hpp"
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

// Applies values in the order given: a later one wins over an earlier one, but both are checked.
void take_values(const std::vector<SourceValue>& values, ConfigResult& result) {
  for (const SourceValue& value : values) {
    const Setting& setting = *value.setting;
    const ValueProblem problem = set_value(setting, value.raw, result.config);
    if (problem.problem.empty()) {
      const auto index = static_cast<std::size_t>(value.setting - settings().data());
      result.origins[index] = origin_of(value);
      continue;
    }
    const std::string fix =
        problem.suggestion.empty() ? std::string{} : write_fix(value, problem.suggestion);
    result.errors.push_back(
        {value.where, value.shown, problem.problem, setting_allowed(setting), fix});
  }
}

// --- Settings against each other

class CrossCheck {
 public:
  CrossCheck(ConfigResult& result, ServedBy served_by)
      : result_(result), config_(result.config), served_by_(served_by) {}
  void run();

 private:
  // "limits.pong_timeout = "30s" (flag --pong-timeout)"
  std::string shown(std::string_view path) const;
  const std::string& origin(std::string_view path) const { return result_.origins[index(path)]; }
  static std::size_t index(std::string_view path);
  void at_most(std::string_view small, std::uint64_t small_value, std::string_view large,
               std::uint64_t large_value);
  void check_listeners();
  void check_buffers();

  ConfigResult& result_;
  const ServerConfig& config_;
  ServedBy served_by_;
};

std::size_t CrossCheck::index(std::string_view path) {
  const auto found = std::find_if(settings().begin(), settings().end(),
                                  [&](const Setting& it) { return setting_path(it) == path; });
  RT_ASSERT(found != settings().end());
  return static_cast<std::size_t>(found - settings().begin());
}

std::string CrossCheck::shown(std::string_view path) const {
  return fmt::format("{} = {} ({})", path, setting_toml(settings()[index(path)], config_),
                     origin(path));
}

void CrossCheck::at_most(std::string_view small, std::uint64_t small_value, std::string_view large,
                         std::uint64_t large_value) {
  if (small_value <= large_value) return;
  result_.errors.push_back({"configuration", shown(small), fmt::format("is above {}", shown(large)),
                            "", fmt::format("lower {} or raise {}", small, large)});
}

void CrossCheck::check_listeners() {
  // Each in one spelling: [::1]:80 is [0::1]:80.
  std::vector<std::string> all;
  const auto add = [&all](const std::vector<std::string>& texts) {
    for (const std::string& text : texts) {
      all.push_back(runtime::Address::parse(text).value().text());
    }
  };
  add(config_.server.listen);
  const bool is_echo = served_by_ == ServedBy::echo;
  if (!is_echo) add(config_.server.tcp_listen);
  if (all.empty()) {
    result_.errors.push_back({"configuration", shown("server.listen"),
                              is_echo ? "leaves echo nothing to listen on"
                                      : "leaves nothing to listen on, as server.tcp_listen is "
                                        "empty too",
                              "", "listen = [\"127.0.0.1:8080\"]"});
  }
  std::sort(all.begin(), all.end());
  for (std::size_t i = 1; i < all.size(); ++i) {
    // Port 0 is another port each time.
    const bool is_unix = all[i].starts_with("unix:");
    if (all[i] != all[i - 1] || (!is_unix && all[i].ends_with(":0"))) continue;
    result_.errors.push_back({"configuration", fmt::format("\"{}\"", all[i]),
                              "is listened on twice (server.listen, server.tcp_listen)", "",
                              "name it once"});
  }
}

void CrossCheck::check_buffers() {
  constexpr std::uint64_t kPoolBytesMax = std::uint64_t{1} << 30;
  const ServerConfig::Runtime& runtime = config_.runtime;
  const auto check = [&](std::string_view bytes_path, std::uint64_t bytes,
                         std::string_view count_path, std::uint64_t count) {
    if (bytes * count <= kPoolBytesMax) return;
    result_.errors.push_back(
        {"configuration", fmt::format("{} times {}", shown(bytes_path), shown(count_path)),
         fmt::format("is {} of buffers for each core", format_bytes(bytes * count)), "at most 1GiB",
         fmt::format("lower {} or {}", bytes_path, count_path)});
  };
  check("runtime.receive_buffer_bytes", runtime.receive_buffer_bytes, "runtime.receive_buffers",
        runtime.receive_buffers);
  check("runtime.medium_buffer_bytes", runtime.medium_buffer_bytes, "runtime.medium_buffers",
        runtime.medium_buffers);
  check("runtime.large_buffer_bytes", runtime.large_buffer_bytes, "runtime.large_buffers",
        runtime.large_buffers);
}

void CrossCheck::run() {
  const ServerConfig::Limits& limits = config_.limits;
  check_listeners();
  check_buffers();
  // A second ping while the first is unanswered would hide which one the pong belongs to.
  if (limits.ping_interval != 0) {
    at_most("limits.pong_timeout", static_cast<std::uint64_t>(limits.pong_timeout),
            "limits.ping_interval", static_cast<std::uint64_t>(limits.ping_interval));
  }
  at_most("limits.connections_per_ip_max", limits.connections_per_ip_max, "limits.connections_max",
          limits.connections_max);
  // Each submission ends in at least one completion.
  at_most("runtime.ring_entries", config_.runtime.ring_entries, "runtime.completion_entries",
          config_.runtime.completion_entries);
  if (limits.message_bytes_max > limits.outgoing_queue_bytes_max) {
    result_.warnings.push_back(
        fmt::format("{} is above {}: a message of that size can be received, but not sent on",
                    shown("limits.message_bytes_max"), shown("limits.outgoing_queue_bytes_max")));
  }
}

}  // namespace

std::string ConfigError::text() const {
  std::string text = fmt::format("{}: {}: {}", where, setting, problem);
  if (!allowed.empty()) text += fmt::format("; allowed: {}", allowed);
  if (!fix.empty()) text += fmt::format("; fix: {}", fix);
  return text;
}

std::string origin_of(const SourceValue& value) {
  switch (value.source) {
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
    case Source::file:
      break;
  }
  const bool is_words = kind == SettingKind::text || kind == SettingKind::list;
  const bool is_bare =
      kind == SettingKind::boolean || (!is_words && parse_count(value).value.has_value());
  const std::string text = is_bare ? std::string(value) : quote_toml(value);
  return fmt::format("{} = {}", from.name, kind == SettingKind::list ? "[" + text + "]" : text);
}

std::vector<SourceValue> read_environment_settings(const Environment& environment,
                                                   std::vector<std::string>& warnings) {
  std::vector<SourceValue> values;
  std::vector<std::string> known;
  std::vector<std::string> alike;  // without the prefix, which would make any two names alike
  for (const Setting& setting : settings()) {
    known.push_back(setting_variable(setting));
    alike.push_back(known.back().substr(kPrefix.size()));
  }
  for (const auto& [name, text] : environment) {
    if (!name.starts_with(kPrefix) || name == kConfigVariable) continue;
    const auto found = std::find(known.begin(), known.end(), name);
    if (found != known.end()) {
      const auto index = static_cast<std::size_t>(found - known.begin());
      values.push_back({&settings()[index],
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

ConfigResult load_config(const std::string& command, const std::vector<std::string>& arguments,
                         const Environment& environment, const FileReader& read_file) {
  ConfigResult result;
  result.origins.assign(settings().size(), "default");
  FlagSettings flags = read_flag_settings(command, arguments, result.errors);
  result.action = flags.action;
  result.help = std::move(flags.help);
  if (result.action == ConfigAction::help) return result;

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
      take_values(read_file_settings(path, *text, result.errors), result);
    } else {
      result.errors.push_back(
          {path, "the file of " + path_from,
           "cannot be read: " + runtime::describe(text.error()) +
               (text.error().detail == ETIMEDOUT ? " (a pipe has 5 s to bring all of it)" : ""),
           "", "correct the path, or leave it out to use the defaults"});
    }
  }
  take_values(read_environment_settings(environment, result.warnings), result);
  take_values(flags.values, result);
  // Settings that failed still have their defaults, so relations between them would mislead.
  if (!result.errors.empty()) return result;
  const ServedBy served_by = command.ends_with(" echo") ? ServedBy::echo : ServedBy::serve;
  CrossCheck(result, served_by).run();
  warn_of_ineffective_settings(result, served_by);
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
  for (std::size_t i = 0; i < settings().size(); ++i) {
    const Setting& setting = settings()[i];
    if (setting.section != section) {
      text += fmt::format("{}[{}]\n", section.empty() ? "" : "\n", setting.section);
      section = setting.section;
    }
    std::string origin = result.origins[i];
    // A path may hold anything; a comment is UTF-8 and ends at the end of its line.
    const bool is_utf8 = ws::is_valid_utf8(std::as_bytes(std::span{origin}));
    const auto has_no_place = [&](char c) {
      return static_cast<unsigned char>(c) < ' ' || c == 0x7f || (!is_utf8 && c < 0);
    };
    std::replace_if(origin.begin(), origin.end(), has_no_place, '?');
    text += fmt::format("# {}\n{} = {}  # {}\n", setting.help, setting.key,
                        setting_toml(setting, result.config), origin);
  }
  return text;
}

}  // namespace corelane::services::config
