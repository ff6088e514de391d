// Goal: the rights of a Unix socket are taken as people write them, and a mistake is told with its
// fix. Method: the parsers, and whole configurations.
#include "services/node/unix_rights.hpp"

#include <gtest/gtest.h>

#include "tests/unit/services/config/inputs.hpp"

namespace corelane {
namespace {

using namespace services;
using config::ConfigError;
using config::ConfigResult;

TEST(UnixRights, AModeIsThreeOrFourOctalDigits) {
  EXPECT_EQ(parse_mode("0660"), 0660);
  EXPECT_EQ(parse_mode("777"), 0777);
  for (const char* text : {"", "6", "66", "0668", "1777", "00660", "0x1f", "-660", "rw-", " 660"}) {
    EXPECT_FALSE(parse_mode(text)) << text;
  }
}

TEST(UnixRights, UsersAndGroupsAreNamesOrNumbers) {
  EXPECT_EQ(find_user("root"), 0);
  EXPECT_EQ(find_group("root"), 0);
  EXPECT_EQ(find_user("65534"), 65534);
  EXPECT_EQ(find_user("4294967294"), 4294967294);
  for (const char* text : {"", "no-such-name", "roo", "root:", "root\n", "4294967295", "-1"}) {
    EXPECT_FALSE(find_user(text)) << text;
    EXPECT_FALSE(find_group(text)) << text;
  }
}

TEST(UnixRights, AMistakeIsToldWithItsFix) {
  const auto texts = [](const char* flag, const char* value) {
    std::string all;
    for (const ConfigError& error : tests::load({{flag, value}, {}, {}}).errors)
      all += error.text();
    return all;
  };
  EXPECT_NE(texts("--unix-mode", "999").find("octal"), std::string::npos);
  EXPECT_NE(texts("--unix-owner", "no-such-name").find("is no user"), std::string::npos);
  EXPECT_NE(texts("--unix-group", "no-such-name").find("is no group"), std::string::npos);
}

TEST(UnixRights, TheyReachTheListeners) {
  ServerOptions options;
  const auto table = settings_of(options, ServedBy::serve);
  const ConfigResult result = tests::load(table, {{"--listen", "unix:/run/x", "--unix-mode", "0660",
                                                   "--unix-owner", "root", "--unix-group", "7"},
                                                  {},
                                                  {}});
  ASSERT_TRUE(result.ok());
  EXPECT_TRUE(result.warnings.empty());
  EXPECT_EQ(options.node.socket.unix_mode, -1);
  table.store(result.config);
  const runtime::ListenOptions& socket = options.node.socket;
  EXPECT_EQ(socket.unix_mode, 0660);
  EXPECT_EQ(socket.unix_owner, 0);
  EXPECT_EQ(socket.unix_group, 7);
}

TEST(UnixRights, WithoutAUnixSocketTheyWarn) {
  const ConfigResult result = tests::load({{"--unix-mode", "0660"}, {}, {}});
  ASSERT_EQ(result.warnings.size(), 1U);
  EXPECT_NE(result.warnings[0].find("unix_mode"), std::string::npos);
}

}  // namespace
}  // namespace corelane
