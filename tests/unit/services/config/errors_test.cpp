// Goal: what cannot be used is refused with place, key, value, range and fix, all of it in one run;
// what is probably not meant is a warning. Method: whole loads with arguments, environment and
// files made up.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "services/config/config.hpp"
#include "tests/unit/services/config/inputs.hpp"

namespace corelane::services::config {
namespace {

using tests::Arguments;
using tests::ConfigInputs;
using tests::errors_of;
using tests::load;
using tests::load_file;
using tests::one_error;
using tests::table;

TEST(ConfigErrors, AnErrorInAFileNamesFileLineKeyValueRangeAndFix) {
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

TEST(ConfigErrors, AnErrorInAVariableOrFlagNamesItAndIsMendedInItsOwnSpelling) {
  EXPECT_EQ(one_error(load({{}, {{"CORELANE_LIMITS_FRAGMENTS_MAX", "many"}}, {}})),
            "environment: CORELANE_LIMITS_FRAGMENTS_MAX=many: is no whole number; allowed: 1 to "
            "1048576");
  EXPECT_EQ(one_error(load({{"--max-message", "64k"}, {}, {}})),
            "command line: --max-message 64k: \"k\" is no unit of size; allowed: 1 to 1GiB (as "
            "65536, \"64KiB\", \"1MiB\"); fix: --max-message 64KiB");
  EXPECT_EQ(one_error(load({{"--limits.max-message=5"}, {}, {}})),
            "command line: --limits.max-message: is no flag; fix: did you mean --max-message?");
}

TEST(ConfigErrors, ValuesOfTheWrongTypeAreRefused) {
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

TEST(ConfigErrors, UnknownNamesAreRefusedWithTheNearestOne) {
  EXPECT_EQ(one_error(load_file("[limits]\nmesage_bytes_max = 1\n")),
            "c.toml:2: mesage_bytes_max: is no setting of [limits]; fix: did you mean "
            "message_bytes_max?");
  EXPECT_EQ(one_error(load_file("[limit]\nfragments_max = 1\n")),
            "c.toml:1: [limit]: is no section; allowed: the sections server, limits, metrics, "
            "cache, quota, "
            "websocket, http, runtime, log; fix: did you mean [limits]?");
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

TEST(ConfigErrors, ABudgetThatReceiveBuffersAloneNearlyFillIsRefused) {
  EXPECT_EQ(one_error(load({{"--cores", "2", "--max-memory", "32MiB"}, {}, {}})),
            "configuration: limits.memory_bytes_max = \"32MiB\" (flag --max-memory): is too little "
            "for 2 cores, whose receive buffers take 7424KiB each; allowed: at least 45MiB; fix: "
            "raise limits.memory_bytes_max, or lower server.cores or runtime.medium_buffers");
}

TEST(ConfigErrors, ALimitThatIsTakenForAnotherOneIsAWarning) {
  const ConfigResult result = load({{"--cores", "2", "--max-unfinished", "7MiB"}, {}, {}});
  ASSERT_EQ(result.warnings.size(), 1u);
  EXPECT_EQ(result.warnings[0],
            "limits.unfinished_bytes_max = \"7MiB\" (flag --max-unfinished) is taken as 8MiB: each "
            "core's share has room for four messages and for one body of the largest size");
  const ConfigResult enough = load({{"--cores", "2", "--max-unfinished", "8MiB"}, {}, {}});
  EXPECT_EQ(enough.warnings, std::vector<std::string>{});
}

TEST(ConfigErrors, AVariableThatIsNoSettingIsAWarning) {
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

TEST(ConfigErrors, VariablesOfOthersAreNothing) {
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

TEST(ConfigErrors, AllErrorsOfAllSourcesAreReportedAtOnce) {
  ConfigInputs inputs;
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

TEST(ConfigErrors, AFlagInPlaceOfAValueIsTakenAsTheValueAndRefused) {
  const std::string error = one_error(load({{"--cores", "--deflate"}, {}, {}}));
  EXPECT_EQ(error.rfind("command line: --cores --deflate: is no whole number", 0), 0u) << error;
}

TEST(ConfigErrors, AFileThatIsNotThereOrNotTomlIsAnErrorWithItsPlace) {
  EXPECT_EQ(one_error(load({{"--config", "none.toml"}, {}, {}})),
            "none.toml: the file of --config: cannot be read: No such file or directory (errno 2); "
            "fix: correct the path, or leave it out to use the defaults");
  const std::string error = one_error(load_file("[server]\ncores = 1\ncores = 2\n"));
  EXPECT_EQ(error.rfind("c.toml:3: the file: is not TOML: ", 0), 0u) << error;
}

TEST(ConfigErrors, AnEmptyNameOfTheFileIsAnErrorAndNotTheVariablesFile) {
  for (const Arguments& arguments : {Arguments{"--config", ""}, Arguments{"-c", ""}}) {
    ConfigInputs inputs;
    inputs.arguments = arguments;
    inputs.environment = {{"CORELANE_CONFIG", "c.toml"}};
    inputs.files["c.toml"] = "[server]\ncores = 3\n";
    const ConfigResult result = load(inputs);
    EXPECT_EQ(one_error(result),
              "command line: --config \"\": names no file; fix: leave it out to use the defaults");
    EXPECT_EQ(result.config.number("server.cores"), 0u);
  }
  // As everywhere, an empty variable is one that was not set.
  EXPECT_TRUE(load({{}, {{"CORELANE_CONFIG", ""}}, {}}).ok());
}

TEST(ConfigErrors, AddressesAndOriginsAreChecked) {
  for (const char* address : {"8080", "localhost:80", "127.0.0.1", "[::1]", "127.0.0.1:99999"}) {
    const std::string error = one_error(load({{"--listen", address}, {}, {}}));
    EXPECT_NE(error.find(address), error.npos) << error;
    EXPECT_NE(error.find("fix: --listen 127.0.0.1:8080"), error.npos) << error;
  }
  EXPECT_EQ(one_error(load({{"--origin", "wss://a.example"}, {}, {}})),
            "command line: --origin wss://a.example: \"wss://a.example\" can never match: an "
            "Origin has the scheme of the page, http or https; allowed: \"https://host\", "
            "\"https://host:port\", \"https://*.host\", \"null\", \"file://\", "
            "\"moz-extension://*\", \"*\" for any; fix: --origin https://example.org");
  for (const char* origin : {"example.org", "https://", "https://a.example/path"}) {
    EXPECT_FALSE(load({{"--origin", origin}, {}, {}}).ok()) << origin;
  }
  for (const char* origin : {"*", "null", "https://*.x", "https://x:443", "moz-extension://*",
                             "https://b\u00fccher.example", "file://"}) {
    EXPECT_TRUE(load({{"--origin", origin}, {}, {}}).ok()) << origin;
  }
  EXPECT_FALSE(load({{"--subprotocol", "a b"}, {}, {}}).ok());
  EXPECT_FALSE(load({{"--node-name", "a b"}, {}, {}}).ok());
}

TEST(ConfigErrors, SettingsThatContradictEachOtherAreRefused) {
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
  EXPECT_FALSE(load({{"--listen", "[::1]:5", "--tcp-listen", "[0::1]:5"}, {}, {}}).ok());
}

TEST(ConfigErrors, APathIsCheckedAloneAndBesideTheOthers) {
  for (const char* path : {"ws", "/*", "/:", "/*rest/more", "/../x"}) {
    const std::string text = one_error(load({{"--path", path}, {}, {}}));
    EXPECT_NE(text.find("is no path"), text.npos) << path << ": " << text;
  }
  EXPECT_TRUE(load({{"--path", "/ws", "--path", "/rooms/:room", "--path", "/*rest"}, {}, {}}).ok());
  EXPECT_TRUE(load_file("[websocket]\npaths = []\n").ok()) << "TCP alone";
  for (const char* second : {"/rooms/:room", "/rooms/:other"}) {
    const std::string text =
        one_error(load({{"--path", "/rooms/:room", "--path", second}, {}, {}}));
    EXPECT_NE(text.find("stands for the paths of another one in websocket.paths"), text.npos)
        << second << ": " << text;
  }
}

TEST(ConfigErrors, WhatWorksButIsProbablyNotMeantIsAWarning) {
  EXPECT_EQ(load({{"--max-message", "2MiB"}, {}, {}}).warnings.size(), 1u);
  EXPECT_EQ(load({{"--max-message", "2MiB", "--max-queue", "2MiB"}, {}, {}}).warnings.size(), 0u);
}

}  // namespace
}  // namespace corelane::services::config
