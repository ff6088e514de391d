// Goal: each value comes from the place that should win, and what cannot be used is refused with
// place, key, value, range and fix, all of it in one run. Method: whole loads with arguments,
// environment and files made up; rows of the table are walked, so that a new setting is covered.

#include "tools/config.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "tools/config_schema.hpp"

namespace tools {
namespace {

using Arguments = std::vector<std::string>;

struct Inputs {
  Arguments arguments;
  Environment environment;
  std::map<std::string, std::string> files;
};

ConfigResult load(const Inputs& inputs) {
  return load_config("corelane serve", inputs.arguments, inputs.environment,
                     [&](const std::string& path) -> runtime::Result<std::string> {
                       const auto found = inputs.files.find(path);
                       if (found == inputs.files.end()) {
                         return runtime::Unexpected{runtime::Error::from_errno(ENOENT)};
                       }
                       return std::string(found->second);
                     });
}

ConfigResult load_file(const std::string& text) {
  return load({{"--config", "c.toml"}, {}, {{"c.toml", text}}});
}

std::string errors_of(const ConfigResult& result) {
  std::string text;
  for (const ConfigError& error : result.errors) text += error.text() + "\n";
  return text;
}

std::string one_error(const ConfigResult& result) {
  EXPECT_EQ(result.errors.size(), 1u) << errors_of(result);
  return result.errors.empty() ? std::string{} : result.errors.front().text();
}

TEST(Config, WithoutSourcesEverythingHasItsDefaultAndIsValid) {
  const ConfigResult result = load({});
  EXPECT_EQ(errors_of(result), "");
  EXPECT_TRUE(result.warnings.empty());
  EXPECT_EQ(result.config, ServerConfig{});
  EXPECT_EQ(result.action, ConfigAction::run);
  EXPECT_EQ(std::set<std::string>(result.origins.begin(), result.origins.end()),
            std::set<std::string>{"default"});
}

TEST(Config, TheDefaultsAreTheLimitsOfTheDesign) {
  const ServerConfig config;
  EXPECT_EQ(config.limits.message_bytes_max, 1u << 20);
  EXPECT_EQ(config.limits.fragments_max, 1024u);
  EXPECT_EQ(config.limits.message_deadline, 30 * runtime::kSecond);
  EXPECT_EQ(config.limits.request_line_bytes_max, 4096u);
  EXPECT_EQ(config.limits.header_bytes_max, 8192u);
  EXPECT_EQ(config.limits.header_fields_max, 64u);
  EXPECT_EQ(config.limits.header_deadline, 10 * runtime::kSecond);
  EXPECT_EQ(config.limits.close_timeout, 5 * runtime::kSecond);
  EXPECT_EQ(config.limits.ping_interval, 25 * runtime::kSecond);
  EXPECT_EQ(config.limits.pong_timeout, 10 * runtime::kSecond);
  EXPECT_EQ(config.limits.outgoing_queue_bytes_max, 1u << 20);
  EXPECT_EQ(config.limits.write_stall_timeout, 30 * runtime::kSecond);
  EXPECT_EQ(config.limits.subscriptions_per_session_max, 1000u);
  EXPECT_EQ(config.limits.channel_name_bytes_max, 255u);
  EXPECT_EQ(config.limits.channels_max, 1'000'000u);
  EXPECT_EQ(config.limits.connections_max, 1'000'000u);
  EXPECT_EQ(config.limits.connections_per_ip_max, 0u);
  EXPECT_FALSE(config.websocket.deflate);
}

TEST(Config, AFlagWinsOverTheEnvironmentOverTheFileOverTheDefault) {
  Inputs inputs;
  inputs.files["c.toml"] =
      "[limits]\nfragments_max = 10\nmessage_bytes_max = 11\n"
      "header_fields_max = 12\n";
  inputs.environment = {{"CORELANE_CONFIG", "c.toml"},
                        {"CORELANE_LIMITS_FRAGMENTS_MAX", "20"},
                        {"CORELANE_LIMITS_MESSAGE_BYTES_MAX", "21"}};
  inputs.arguments = {"--max-fragments", "30"};
  const ConfigResult result = load(inputs);
  EXPECT_EQ(errors_of(result), "");
  EXPECT_EQ(result.config.limits.fragments_max, 30u);
  EXPECT_EQ(result.config.limits.message_bytes_max, 21u);
  EXPECT_EQ(result.config.limits.header_fields_max, 12u);
  const std::string printed = print_config(result);
  EXPECT_NE(printed.find("fragments_max = 30  # flag --max-fragments\n"), printed.npos) << printed;
  EXPECT_NE(printed.find("message_bytes_max = 21  # environment CORELANE_LIMITS_MESSAGE_BYTES_MAX"),
            printed.npos);
  EXPECT_NE(printed.find("header_fields_max = 12  # file c.toml:4\n"), printed.npos);
  EXPECT_NE(printed.find("header_bytes_max = \"8KiB\"  # default\n"), printed.npos);
}

TEST(Config, TheFlagForTheFileWinsOverItsVariable) {
  Inputs inputs;
  inputs.files["a.toml"] = "[server]\ncores = 1\n";
  inputs.files["b.toml"] = "[server]\ncores = 2\n";
  inputs.environment = {{"CORELANE_CONFIG", "a.toml"}};
  EXPECT_EQ(load(inputs).config.server.cores, 1u);
  inputs.arguments = {"--config=b.toml"};
  EXPECT_EQ(load(inputs).config.server.cores, 2u);
}

// A value that differs from the default, as it is written in a variable or flag.
std::string other_value(const Setting& setting) {
  if (setting.kind == SettingKind::text && setting.key == "level") return "debug";
  if (setting.kind == SettingKind::list && setting.key.ends_with("listen")) return "127.0.0.1:9";
  switch (setting.kind) {
    case SettingKind::boolean:
      return setting_toml(setting, {}) == "true" ? "false" : "true";
    case SettingKind::text:
    case SettingKind::list:
      return std::string(setting.example);
    default:
      break;
  }
  if (setting.zero_too) return "0";
  // The largest size would be refused for the memory it takes, the smallest never is.
  const std::uint64_t value = setting.key == "completion_entries" ? setting.max : setting.min;
  const std::uint64_t used =
      fmt::format("{}", value) == setting_toml(setting, {}) ? setting.min + 1 : value;
  return setting.kind == SettingKind::duration ? fmt::format("{}ns", used)
                                               : fmt::format("{}", used);
}

TEST(Config, EverySettingCanBeGivenAsFlagAliasVariableAndKey) {
  for (const Setting& setting : settings()) {
    const std::string value = other_value(setting);
    const std::string path = setting_path(setting);
    const std::string joint = setting_flag(setting) + "=" + value;
    const ConfigResult by_flag = load({{joint}, {}, {}});
    EXPECT_EQ(errors_of(by_flag), "") << path;
    EXPECT_NE(by_flag.config, ServerConfig{}) << path << " = " << value;

    const ConfigResult by_variable = load({{}, {{setting_variable(setting), value}}, {}});
    EXPECT_EQ(by_variable.config, by_flag.config) << path;

    const std::string toml = fmt::format("[{}]\n{} = {}\n", setting.section, setting.key,
                                         setting_toml(setting, by_flag.config));
    const ConfigResult by_file = load_file(toml);
    EXPECT_EQ(errors_of(by_file), "") << toml;
    EXPECT_EQ(by_file.config, by_flag.config) << toml;

    if (setting.alias.empty()) continue;
    const ConfigResult by_alias = load({{setting_alias(setting) + "=" + value}, {}, {}});
    EXPECT_EQ(by_alias.config, by_flag.config) << setting.alias;
  }
}

TEST(Config, NamesOfSettingsAreUnique) {
  std::set<std::string> names{"--config", "--print-config", "--check-config", "--help"};
  std::set<std::string> variables{"CORELANE_CONFIG"};
  for (const Setting& setting : settings()) {
    EXPECT_TRUE(names.insert(setting_flag(setting)).second) << setting_flag(setting);
    EXPECT_TRUE(variables.insert(setting_variable(setting)).second);
    if (!setting.alias.empty()) {
      EXPECT_TRUE(names.insert(setting_alias(setting)).second);
    }
  }
}

TEST(Config, EveryNumberIsTakenAtItsBoundsAndRefusedOnePastThem) {
  for (const Setting& setting : settings()) {
    const bool is_number = setting.kind == SettingKind::count ||
                           setting.kind == SettingKind::bytes ||
                           setting.kind == SettingKind::duration;
    if (!is_number) continue;
    const auto take = [&](std::uint64_t value) {
      ServerConfig config;
      const char* unit = setting.kind == SettingKind::duration ? "ns" : "";
      return set_value(setting, {fmt::format("{}{}", value, unit), true}, config).problem;
    };
    const std::string path = setting_path(setting);
    EXPECT_EQ(take(setting.min), "") << path;
    EXPECT_EQ(take(setting.max), "") << path;
    EXPECT_EQ(take(setting.max + 1), "is too large") << path;
    if (setting.min > 0) {
      EXPECT_EQ(take(setting.min - 1) == "", setting.zero_too && setting.min == 1) << path;
      EXPECT_EQ(take(0) == "", setting.zero_too) << path;
    }
    if (setting.power_of_two) {
      EXPECT_EQ(take(setting.max - 1), "is no power of two") << path;
    }
  }
}

TEST(Config, PrintedConfigurationReadsBackTheSame) {
  Inputs inputs;
  inputs.arguments = {"--listen",
                      "[::1]:0,unix:/run/a.sock",
                      "--listen=0.0.0.0:81",
                      "--no-pin",
                      "--deflate",
                      "--max-message",
                      "1234567",
                      "--ping-interval",
                      "0",
                      "--origin",
                      "https://a.example:8443",
                      "--node-name",
                      "eu-1.a_b",
                      "--log-level",
                      "debug",
                      "--runtime.lane-poll",
                      "0",
                      "--max-connections-per-ip",
                      "5"};
  const ConfigResult result = load(inputs);
  ASSERT_EQ(errors_of(result), "");
  EXPECT_EQ(result.config.server.listen,
            (std::vector<std::string>{"[::1]:0", "unix:/run/a.sock", "0.0.0.0:81"}));
  const ConfigResult again = load_file(print_config(result));
  EXPECT_EQ(errors_of(again), "");
  EXPECT_EQ(again.config, result.config);
  const ConfigResult defaults = load_file(print_config(load({})));
  EXPECT_EQ(defaults.config, ServerConfig{});
  EXPECT_EQ(defaults.warnings, std::vector<std::string>{}) << "a default has no effect to miss";
}

TEST(Config, ALineBreakInThePathOfTheFileCannotEndTheCommentOfPrintConfig) {
  Inputs inputs;
  inputs.arguments = {"--config", "a\n[log]\nlevel = 1"};
  inputs.files[inputs.arguments[1]] = "[server]\ncores = 3\n";
  const ConfigResult result = load(inputs);
  ASSERT_EQ(errors_of(result), "");
  EXPECT_EQ(load_file(print_config(result)).config, result.config);
}

TEST(Config, AnErrorInAFileNamesFileLineKeyValueRangeAndFix) {
  EXPECT_EQ(
      one_error(load_file("[limits]\n\nmessage_bytes_max = \"1MB\"\n")),
      "c.toml:3: message_bytes_max = '1MB': \"MB\" is no unit of size; allowed: 1 to 1GiB (as "
      "65536, \"64KiB\", \"1MiB\"); fix: message_bytes_max = \"1MiB\"");
  EXPECT_EQ(
      one_error(load_file("[limits]\nfragments_max = 0\n")),
      "c.toml:2: fragments_max = 0: is too small; allowed: 1 to 1048576; fix: fragments_max = "
      "1");
  EXPECT_EQ(one_error(load_file("[limits]\nheader_deadline = 10\n")),
            "c.toml:2: header_deadline = 10: has no unit; allowed: 1ms to 10m (as \"250ms\", "
            "\"10s\", \"2m\"); fix: header_deadline = \"10s\"");
}

TEST(Config, AnErrorInAVariableOrFlagNamesItAndIsMendedInItsOwnSpelling) {
  EXPECT_EQ(one_error(load({{}, {{"CORELANE_LIMITS_FRAGMENTS_MAX", "many"}}, {}})),
            "environment: CORELANE_LIMITS_FRAGMENTS_MAX=many: is no whole number; allowed: 1 to "
            "1048576");
  EXPECT_EQ(one_error(load({{"--max-message", "64k"}, {}, {}})),
            "command line: --max-message 64k: \"k\" is no unit of size; allowed: 1 to 1GiB (as "
            "65536, \"64KiB\", \"1MiB\"); fix: --max-message 64KiB");
  EXPECT_EQ(one_error(load({{"--limits.max-message=5"}, {}, {}})),
            "command line: --limits.max-message: is no flag; fix: did you mean --max-message?");
}

TEST(Config, ValuesOfTheWrongTypeAreRefused) {
  const char* const kLines[] = {
      "[server]\ncores = \"4\"",
      "[server]\ncores = 1.5",
      "[server]\ncores = true",
      "[server]\npin = \"true\"",
      "[server]\npin = 1",
      "[server]\nlisten = 8080",
      "[server]\ncores = -1",
      "[server]\nlisten = [8080]",
      "[log]\nlevel = true",
      "[server]\ncores = [1]",
      "[limits]\nheader_deadline = 2020-01-01",
  };
  for (const char* line : kLines) {
    const std::string error = one_error(load_file(line));
    EXPECT_EQ(error.rfind("c.toml:2: ", 0), 0u) << line << " gives " << error;
  }
}

TEST(Config, UnknownNamesAreRefusedWithTheNearestOne) {
  EXPECT_EQ(one_error(load_file("[limits]\nmesage_bytes_max = 1\n")),
            "c.toml:2: mesage_bytes_max: is no setting of [limits]; fix: did you mean "
            "message_bytes_max?");
  EXPECT_EQ(one_error(load_file("[limit]\nfragments_max = 1\n")),
            "c.toml:1: [limit]: is no section; allowed: the sections server, limits, websocket, "
            "runtime, log; fix: did you mean [limits]?");
  EXPECT_EQ(one_error(load_file("[server]\nfragments_max = 1\n")),
            "c.toml:2: fragments_max: is no setting of [server]; fix: move it below [limits]");
  EXPECT_EQ(one_error(load_file("listen = []\n")),
            "c.toml:1: listen: stands outside of its section; fix: move it below [server]");
  EXPECT_EQ(one_error(load_file("limits = 1\n")),
            "c.toml:1: limits: is a section, not a key; fix: write [limits] on a line of its own");
  EXPECT_EQ(one_error(load({{"--max-mesage", "5"}, {}, {}})),
            "command line: --max-mesage: is no flag; fix: did you mean --max-message?");
  EXPECT_EQ(one_error(load({{"extra"}, {}, {}})),
            "command line: extra: is an argument that nothing takes; fix: delete it");
}

TEST(Config, AVariableThatIsNoSettingIsAWarning) {
  const ConfigResult result = load({{},
                                    {{"CORELANE_LIMITS_FRAGMENT_MAX", "5"},
                                     {"CORELANE_ZZZ", "1"},
                                     {"CORELANE_", ""},
                                     {"CORELANE_PORTION", "2"}},
                                    {}});
  EXPECT_EQ(errors_of(result), "");
  ASSERT_EQ(result.warnings.size(), 4u);
  EXPECT_EQ(result.warnings[0],
            "environment: CORELANE_LIMITS_FRAGMENT_MAX is no setting and has no effect; did you "
            "mean CORELANE_LIMITS_FRAGMENTS_MAX?");
  EXPECT_EQ(result.warnings[1], "environment: CORELANE_ZZZ is no setting and has no effect");
}

TEST(Config, VariablesOfOthersAreNothing) {
  const ConfigResult result = load({{},
                                    {{"CORELANE_SERVICE_HOST", "10.0.0.1"},
                                     {"CORELANE_SERVICE_PORT", "8080"},
                                     {"CORELANE_SERVICE_PORT_HTTP", "8080"},
                                     {"CORELANE_PORT", "tcp://10.0.0.1:8080"},
                                     {"CORELANE_PORT_8080_TCP_ADDR", "10.0.0.1"},
                                     {"PATH", "/bin"}},
                                    {}});
  EXPECT_EQ(errors_of(result), "");
  EXPECT_EQ(result.warnings, std::vector<std::string>{});
}

TEST(Config, AllErrorsOfAllSourcesAreReportedAtOnce) {
  Inputs inputs;
  inputs.files["c.toml"] = "[limits]\nfragments_max = 0\nheader_fields_max = 0\nx = 1\n";
  inputs.environment = {{"CORELANE_SERVER_CORES", "257"}};
  inputs.arguments = {"--config", "c.toml", "--log-level", "loud", "--unheard-of", "--max-queue"};
  const ConfigResult result = load(inputs);
  const std::string errors = errors_of(result);
  EXPECT_EQ(result.errors.size(), 7u) << errors;
  for (const char* part : {"c.toml:2", "c.toml:3", "c.toml:4", "CORELANE_SERVER_CORES=257",
                           "--log-level loud", "--unheard-of", "--max-queue: has no value"}) {
    EXPECT_NE(errors.find(part), errors.npos) << part << " is not in\n" << errors;
  }
}

TEST(Config, AFlagInPlaceOfAValueIsTakenAsTheValueAndRefused) {
  const std::string error = one_error(load({{"--cores", "--deflate"}, {}, {}}));
  EXPECT_EQ(error.rfind("command line: --cores --deflate: is no whole number", 0), 0u) << error;
}

TEST(Config, TheLastOfRepeatedFlagsWinsAndListsAddUp) {
  const ConfigResult result =
      load({{"--cores", "1", "--server.cores", "2", "--listen", "127.0.0.1:1", "--listen",
             "127.0.0.1:2", "--deflate", "--no-deflate"},
            {},
            {}});
  EXPECT_EQ(errors_of(result), "");
  EXPECT_EQ(result.config.server.cores, 2u);
  EXPECT_EQ(result.config.server.listen, (std::vector<std::string>{"127.0.0.1:1", "127.0.0.1:2"}));
  EXPECT_FALSE(result.config.websocket.deflate);
}

TEST(Config, AFileThatIsNotThereOrNotTomlIsAnErrorWithItsPlace) {
  EXPECT_EQ(one_error(load({{"--config", "none.toml"}, {}, {}})),
            "none.toml: the file of --config: cannot be read: No such file or directory (errno 2); "
            "fix: correct the path, or leave it out to use the defaults");
  const std::string error = one_error(load_file("[server]\ncores = 1\ncores = 2\n"));
  EXPECT_EQ(error.rfind("c.toml:3: the file: is not TOML: ", 0), 0u) << error;
}

TEST(Config, AnEmptyNameOfTheFileIsAnErrorAndNotTheVariablesFile) {
  for (const Arguments& arguments : {Arguments{"--config", ""}, Arguments{"-c", ""}}) {
    Inputs inputs;
    inputs.arguments = arguments;
    inputs.environment = {{"CORELANE_CONFIG", "c.toml"}};
    inputs.files["c.toml"] = "[server]\ncores = 3\n";
    const ConfigResult result = load(inputs);
    EXPECT_EQ(one_error(result),
              "command line: --config \"\": names no file; fix: leave it out to use the defaults");
    EXPECT_EQ(result.config.server.cores, 0u);
  }
  // As everywhere, an empty variable is one that was not set.
  EXPECT_TRUE(load({{}, {{"CORELANE_CONFIG", ""}}, {}}).ok());
}

TEST(Config, AddressesAndOriginsAreChecked) {
  for (const char* address : {"8080", "localhost:80", "127.0.0.1", "[::1]", "127.0.0.1:99999"}) {
    const std::string error = one_error(load({{"--listen", address}, {}, {}}));
    EXPECT_NE(error.find(address), error.npos) << error;
    EXPECT_NE(error.find("fix: --listen 127.0.0.1:8080"), error.npos) << error;
  }
  for (const char* origin : {"example.org", "https://", "https://a.example/path"}) {
    EXPECT_FALSE(load({{"--origin", origin}, {}, {}}).ok()) << origin;
  }
  EXPECT_TRUE(load({{"--origin", "*"}, {}, {}}).ok());
  EXPECT_FALSE(load({{"--subprotocol", "a b"}, {}, {}}).ok());
  EXPECT_FALSE(load({{"--node-name", "a b"}, {}, {}}).ok());
}

TEST(Config, SettingsThatContradictEachOtherAreRefused) {
  EXPECT_EQ(one_error(load({{"--pong-timeout", "30s"}, {}, {}})),
            "configuration: limits.pong_timeout = \"30s\" (flag --pong-timeout): is above "
            "limits.ping_interval = \"25s\" (default); fix: lower limits.pong_timeout or raise "
            "limits.ping_interval");
  EXPECT_TRUE(load({{"--pong-timeout", "25s"}, {}, {}}).ok());
  EXPECT_TRUE(load({{"--pong-timeout", "30s", "--ping-interval", "0"}, {}, {}}).ok());
  EXPECT_FALSE(load({{"--max-connections", "5", "--max-connections-per-ip", "6"}, {}, {}}).ok());
  EXPECT_FALSE(
      load({{"--runtime.ring-entries", "64", "--runtime.completion-entries", "32"}, {}, {}}).ok());
  EXPECT_FALSE(
      load(
          {{"--runtime.receive-buffer-bytes", "1MiB", "--runtime.receive-buffers", "2048"}, {}, {}})
          .ok());
  EXPECT_FALSE(load({{"--listen", "127.0.0.1:5", "--tcp-listen", "127.0.0.1:5"}, {}, {}}).ok());
  EXPECT_TRUE(load({{"--listen", "127.0.0.1:0", "--tcp-listen", "127.0.0.1:0"}, {}, {}}).ok());
  EXPECT_FALSE(load_file("[server]\nlisten = []\n").ok());
  EXPECT_TRUE(load_file("[server]\nlisten = []\ntcp_listen = \"127.0.0.1:5\"\n").ok());
}

TEST(Config, WhatWorksButIsProbablyNotMeantIsAWarning) {
  EXPECT_EQ(load({{"--max-message", "2MiB"}, {}, {}}).warnings.size(), 1u);
  EXPECT_EQ(load({{"--max-message", "2MiB", "--max-queue", "2MiB"}, {}, {}}).warnings.size(), 0u);
  EXPECT_EQ(load({{"--websocket.deflate-level", "9"}, {}, {}}).warnings.size(), 1u);
  EXPECT_EQ(load({{"--websocket.deflate-level", "9", "--deflate"}, {}, {}}).warnings.size(), 0u);
}

TEST(Config, HelpNamesEverySettingAndEndsTheLoadEarly) {
  const ConfigResult result = load({{"--help", "--config", "none.toml"}, {}, {}});
  EXPECT_EQ(result.action, ConfigAction::help);
  EXPECT_TRUE(result.ok());
  for (const Setting& setting : settings()) {
    EXPECT_NE(result.help.find(setting_flag(setting)), result.help.npos) << setting.key;
    EXPECT_NE(result.help.find(setting_alias(setting)), result.help.npos) << setting.key;
  }
  EXPECT_EQ(load({{"--print-config"}, {}, {}}).action, ConfigAction::print_config);
  EXPECT_EQ(load({{"--check-config"}, {}, {}}).action, ConfigAction::check_config);
}

TEST(Config, FilesAreReadWhole) {
  EXPECT_EQ(read_whole_file("/nonexistent/corelane.toml").error(),
            runtime::Error::from_errno(ENOENT));
  EXPECT_FALSE(read_whole_file("/").has_value());
  const auto status = read_whole_file("/proc/self/status");
  ASSERT_TRUE(status.has_value());
  EXPECT_NE(status->find("Name:"), std::string::npos);
  EXPECT_EQ(read_whole_file("/dev/null").value(), "");
}

TEST(Config, AFileWithoutEndIsRefusedInsteadOfReadForever) {
  EXPECT_EQ(read_whole_file("/dev/zero").error(), runtime::Error::from_errno(EFBIG));
}

TEST(Config, AFileOfTheLargestSizeIsReadAndOneByteMoreIsNot) {
  const std::string path = ::testing::TempDir() + "corelane_config_test.toml";
  for (const std::size_t more : {0u, 1u}) {
    std::ofstream(path) << std::string(kConfigFileBytesMax + more, '#');
    const auto text = read_whole_file(path);
    EXPECT_EQ(text.has_value(), more == 0);
    if (text) {
      EXPECT_EQ(text->size(), kConfigFileBytesMax);
    }
  }
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace tools
