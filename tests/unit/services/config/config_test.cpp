// Goal: each value comes from the place that should win, whichever it is and however it is spelled,
// and what is printed reads back the same. Method: whole loads with arguments, environment and
// files made up; rows of the table are walked, so that a new setting is covered.

#include "services/config/config.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "services/config/setting.hpp"
#include "tests/unit/services/config/inputs.hpp"

namespace corelane::services::config {
namespace {

using tests::ConfigInputs;
using tests::errors_of;
using tests::load;
using tests::load_file;
using tests::table;

TEST(Config, WithoutSourcesEverythingHasItsDefaultAndIsValid) {
  const ConfigResult result = load({});
  EXPECT_EQ(errors_of(result), "");
  EXPECT_TRUE(result.warnings.empty());
  EXPECT_EQ(result.config, Configuration(table()));
  EXPECT_EQ(result.action, ConfigAction::run);
  EXPECT_EQ(std::set<std::string>(result.origins.begin(), result.origins.end()),
            std::set<std::string>{"default"});
}

TEST(Config, TheDefaultsAreTheLimitsOfTheDesign) {
  const Configuration config(table());
  EXPECT_EQ(config.number("limits.message_bytes_max"), 1u << 20);
  EXPECT_EQ(config.number("limits.fragments_max"), 1024u);
  EXPECT_EQ(config.number("limits.message_deadline"), std::uint64_t{30 * runtime::kSecond});
  EXPECT_EQ(config.number("limits.request_line_bytes_max"), 4096u);
  EXPECT_EQ(config.number("limits.header_bytes_max"), 8192u);
  EXPECT_EQ(config.number("limits.header_fields_max"), 64u);
  EXPECT_EQ(config.number("limits.header_deadline"), std::uint64_t{10 * runtime::kSecond});
  EXPECT_EQ(config.number("limits.close_timeout"), std::uint64_t{5 * runtime::kSecond});
  EXPECT_EQ(config.number("limits.close_discard_bytes_max"), 16u << 20);
  EXPECT_EQ(config.number("limits.ping_interval"), std::uint64_t{25 * runtime::kSecond});
  EXPECT_EQ(config.number("limits.pong_timeout"), std::uint64_t{10 * runtime::kSecond});
  EXPECT_EQ(config.number("limits.outgoing_queue_bytes_max"), 1u << 20);
  EXPECT_EQ(config.number("limits.write_stall_timeout"), std::uint64_t{30 * runtime::kSecond});
  EXPECT_EQ(config.number("limits.memory_bytes_max"), 0u);
  EXPECT_EQ(config.number("limits.unfinished_bytes_max"), 256u << 20);
  EXPECT_EQ(config.number("limits.subscriptions_per_session_max"), 1000u);
  EXPECT_EQ(config.number("limits.channel_name_bytes_max"), 255u);
  EXPECT_EQ(config.number("limits.channels_max"), 1'000'000u);
  EXPECT_EQ(config.number("limits.connections_max"), 1'000'000u);
  EXPECT_EQ(config.number("limits.connections_per_ip_max"), 0u);
  EXPECT_FALSE(config.is_on("websocket.deflate"));
}

TEST(Config, AFlagWinsOverTheEnvironmentOverTheFileOverTheDefault) {
  ConfigInputs inputs;
  inputs.files["c.toml"] =
      "[limits]\nfragments_max = 10\nmessage_bytes_max = 11\n"
      "header_fields_max = 12\n";
  inputs.environment = {{"CORELANE_CONFIG", "c.toml"},
                        {"CORELANE_LIMITS_FRAGMENTS_MAX", "20"},
                        {"CORELANE_LIMITS_MESSAGE_BYTES_MAX", "21"}};
  inputs.arguments = {"--max-fragments", "30"};
  const ConfigResult result = load(inputs);
  EXPECT_EQ(errors_of(result), "");
  EXPECT_EQ(result.config.number("limits.fragments_max"), 30u);
  EXPECT_EQ(result.config.number("limits.message_bytes_max"), 21u);
  EXPECT_EQ(result.config.number("limits.header_fields_max"), 12u);
  const std::string printed = print_config(result);
  EXPECT_NE(printed.find("fragments_max = 30  # flag --max-fragments\n"), printed.npos) << printed;
  EXPECT_NE(printed.find("message_bytes_max = 21  # environment CORELANE_LIMITS_MESSAGE_BYTES_MAX"),
            printed.npos);
  EXPECT_NE(printed.find("header_fields_max = 12  # file c.toml:4\n"), printed.npos);
  EXPECT_NE(printed.find("header_bytes_max = \"8KiB\"  # default\n"), printed.npos);
}

TEST(Config, TheFlagForTheFileWinsOverItsVariable) {
  ConfigInputs inputs;
  inputs.files["a.toml"] = "[server]\ncores = 1\n";
  inputs.files["b.toml"] = "[server]\ncores = 2\n";
  inputs.environment = {{"CORELANE_CONFIG", "a.toml"}};
  EXPECT_EQ(load(inputs).config.number("server.cores"), 1u);
  inputs.arguments = {"--config=b.toml"};
  EXPECT_EQ(load(inputs).config.number("server.cores"), 2u);
}

TEST(Config, EverySettingCanBeGivenAsFlagAliasVariableAndKey) {
  for (const Setting& setting : table().settings()) {
    const std::string value = tests::other_value(setting);
    const std::string path = setting_path(setting);
    const std::string joint = setting_flag(setting) + "=" + value;
    const ConfigResult by_flag = load({{joint}, {}, {}});
    EXPECT_EQ(errors_of(by_flag), "") << path;
    EXPECT_NE(by_flag.config, Configuration(table())) << path << " = " << value;

    const ConfigResult by_variable = load({{}, {{setting_variable(setting), value}}, {}});
    EXPECT_EQ(by_variable.config, by_flag.config) << path;

    const std::string toml = fmt::format("[{}]\n{} = {}\n", setting.section, setting.key,
                                         setting_toml(setting, by_flag.config.of(setting)));
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
  for (const Setting& setting : table().settings()) {
    EXPECT_TRUE(names.insert(setting_flag(setting)).second) << setting_flag(setting);
    EXPECT_TRUE(variables.insert(setting_variable(setting)).second);
    if (!setting.alias.empty()) {
      EXPECT_TRUE(names.insert(setting_alias(setting)).second);
    }
  }
}

TEST(Config, EveryNumberIsTakenAtItsBoundsAndRefusedOnePastThem) {
  for (const Setting& setting : table().settings()) {
    const bool is_number = setting.kind == SettingKind::count ||
                           setting.kind == SettingKind::bytes ||
                           setting.kind == SettingKind::duration;
    if (!is_number) continue;
    const auto take = [&](std::uint64_t value) {
      Value taken;
      const char* unit = setting.kind == SettingKind::duration ? "ns" : "";
      return set_value(setting, {fmt::format("{}{}", value, unit), true}, taken).problem;
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
  ConfigInputs inputs;
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
  EXPECT_EQ(result.config.list("server.listen"),
            (std::vector<std::string>{"[::1]:0", "unix:/run/a.sock", "0.0.0.0:81"}));
  const ConfigResult again = load_file(print_config(result));
  EXPECT_EQ(errors_of(again), "");
  EXPECT_EQ(again.config, result.config);
  const ConfigResult defaults = load_file(print_config(load({})));
  EXPECT_EQ(defaults.config, Configuration(table()));
  EXPECT_EQ(defaults.warnings, std::vector<std::string>{}) << "a default has no effect to miss";
}

TEST(Config, ALineBreakInThePathOfTheFileCannotEndTheCommentOfPrintConfig) {
  ConfigInputs inputs;
  inputs.arguments = {"--config", "a\n[log]\nlevel = 1"};
  inputs.files[inputs.arguments[1]] = "[server]\ncores = 3\n";
  const ConfigResult result = load(inputs);
  ASSERT_EQ(errors_of(result), "");
  EXPECT_EQ(load_file(print_config(result)).config, result.config);
}

TEST(Config, TheLastOfRepeatedFlagsWinsAndListsAddUp) {
  const ConfigResult result =
      load({{"--cores", "1", "--server.cores", "2", "--listen", "127.0.0.1:1", "--listen",
             "127.0.0.1:2", "--deflate", "--no-deflate"},
            {},
            {}});
  EXPECT_EQ(errors_of(result), "");
  EXPECT_EQ(result.config.number("server.cores"), 2u);
  EXPECT_EQ(result.config.list("server.listen"),
            (std::vector<std::string>{"127.0.0.1:1", "127.0.0.1:2"}));
  EXPECT_FALSE(result.config.is_on("websocket.deflate"));
}

TEST(Config, HelpNamesEverySettingAndEndsTheLoadEarly) {
  const ConfigResult result = load({{"--help", "--config", "none.toml"}, {}, {}});
  EXPECT_EQ(result.action, ConfigAction::help);
  EXPECT_TRUE(result.ok());
  for (const Setting& setting : table().settings()) {
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
}  // namespace corelane::services::config
