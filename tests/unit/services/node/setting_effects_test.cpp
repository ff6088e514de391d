// Goal: a setting that has no effect beside the others is named in a warning with the reason, and a
// configuration whose settings all have one gets none. Method: whole loads; a table of settings,
// each with what takes its effect and what gives it back.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "services/config/config.hpp"
#include "tests/unit/services/config/inputs.hpp"

namespace corelane::services::config {
namespace {

using tests::Arguments;
using tests::errors_of;
using tests::load;

struct Ineffective {
  std::string path;    // of the setting
  Arguments given;     // with what takes its effect
  std::string reason;  // a part of it
  Arguments mended;    // the same setting with an effect
};

const Ineffective kIneffective[] = {
    {"websocket.deflate_level",
     {"--websocket.deflate-level=9"},
     "websocket.deflate is false",
     {"--websocket.deflate-level=9", "--deflate"}},
    {"websocket.deflate_server_window_bits",
     {"--websocket.deflate-server-window-bits=9"},
     "websocket.deflate is false",
     {"--websocket.deflate-server-window-bits=9", "--deflate"}},
    {"limits.pong_timeout",
     {"--pong-timeout=30s", "--ping-interval=0"},
     "limits.ping_interval is 0",
     {"--pong-timeout=20s"}},
    {"runtime.medium_buffer_bytes",
     {"--runtime.medium-buffer-bytes=16KiB", "--runtime.medium-buffers=0"},
     "runtime.medium_buffers is 0",
     {"--runtime.medium-buffer-bytes=16KiB"}},
    {"runtime.medium_buffer_bytes",
     {"--runtime.medium-buffer-bytes=4KiB"},
     "hold as much",
     {"--runtime.medium-buffer-bytes=8KiB"}},
    {"runtime.large_buffer_bytes",
     {"--runtime.large-buffer-bytes=1MiB", "--runtime.large-buffers=0"},
     "runtime.large_buffers is 0",
     {"--runtime.large-buffer-bytes=1MiB"}},
    {"runtime.large_buffer_bytes",
     {"--runtime.large-buffer-bytes=32KiB"},
     "hold as much",
     {"--runtime.large-buffer-bytes=64KiB"}},
    {"runtime.lane_poll",
     {"--runtime.lane-poll=0", "--cores=1"},
     "one core",
     {"--runtime.lane-poll=0", "--cores=2"}},
    {"runtime.lane_slots",
     {"--runtime.lane-slots=64", "--cores=1"},
     "one core",
     {"--runtime.lane-slots=64", "--cores=2"}},
    {"limits.connections_per_ip_max",
     {"--max-connections-per-ip=5", "--listen=unix:/x"},
     "Unix sockets",
     {"--max-connections-per-ip=5", "--listen=unix:/x", "--tcp-listen=127.0.0.1:0"}},
    {"websocket.origins",
     {"--origin=*", "--origin=https://a.example"},
     "lets any origin in",
     {"--origin=*"}},
    {"websocket.origin_strict",
     {"--origin=*", "--origin-strict"},
     "lets any origin in",
     {"--origin-strict"}},
    {"websocket.subprotocols",
     {"--max-header=200", "--subprotocol=" + std::string(200, 'a')},
     "limits.header_bytes_max",
     {"--max-header=512", "--subprotocol=" + std::string(200, 'a')}},
    {"no WebSocket can be opened",
     {"--max-header-fields=4"},
     "at least 5 fields",
     {"--max-header-fields=5"}},
    {"no WebSocket can be opened", {"--max-header=121"}, "122 bytes", {"--max-header=122"}},
    {"http.handler_bytes_max",
     {"--max-http-handler-bytes=1MiB"},
     "gets no request with a body of that size",
     {"--max-http-handler-bytes=1MiB", "--max-body=512KiB"}},
    {"limits.channel_name_bytes_max",
     {"--max-channel-name=300", "--max-message=299"},
     "limits.message_bytes_max",
     {"--max-channel-name=300", "--max-message=300"}},
    {"limits.subscriptions_per_session_max",
     {"--max-subscriptions=50", "--max-channels=49"},
     "limits.channels_max",
     {"--max-subscriptions=50", "--max-channels=50"}},
    {"quota.principal_name",
     {"--quota.principal-name=all"},
     "quota.principal is empty",
     {"--quota.principal-name=all", "--quota-principal=requests 5/s"}},
    {"quota.track",
     {"--quota.track", "--quota-address=requests 5/s"},
     "tracks addresses already",
     {"--quota.track"}},
};

TEST(ConfigEffect, ASettingWithoutEffectIsNamedWithTheReason) {
  for (const Ineffective& one : kIneffective) {
    const ConfigResult result = load({one.given, {}, {}});
    EXPECT_EQ(errors_of(result), "") << one.path;
    ASSERT_EQ(result.warnings.size(), 1u) << one.path;
    EXPECT_EQ(result.warnings[0].rfind(one.path, 0), 0u) << result.warnings[0];
    EXPECT_NE(result.warnings[0].find(one.reason), std::string::npos) << result.warnings[0];
    const ConfigResult mended = load({one.mended, {}, {}});
    EXPECT_EQ(mended.warnings, std::vector<std::string>{}) << one.path;
  }
}

TEST(ConfigEffect, LimitsOfHandlersAreNamedWhereThereAreNone) {
  const Arguments arguments = {"--answer-timeout=5s", "--max-http-handlers=5",
                               "--max-http-handler-bytes=2MiB"};
  for (const ServedBy served_by : {ServedBy::serve, ServedBy::echo}) {
    ServerOptions options;
    const SettingTable table = settings_of(options, served_by);
    const Program program{.command = "c", .check = [&](ConfigResult& result) {
                            check_settings(result, served_by, true);
                          }};
    const ConfigResult result = load_config(table, program, arguments, {}, read_whole_file);
    ASSERT_EQ(result.warnings.size(), 3u);
    EXPECT_EQ(
        result.warnings[0],
        "http.answer_deadline = \"5s\" (flag --answer-timeout) has no effect: this server has "
        "no HTTP handlers but its own, which answer at once");
    EXPECT_EQ(table.find("limits.handlers_max"), nullptr);
  }
  EXPECT_EQ(load({arguments, {}, {}}).warnings, std::vector<std::string>{});
}

TEST(ConfigEffect, WithoutAListenerForWebSocketItsSettingsAreNamed) {
  ConfigResult result = tests::load_file(
      "[server]\nlisten = []\ntcp_listen = \"127.0.0.1:5\"\n"
      "[websocket]\nsubprotocols = \"chat\"\n[limits]\nheader_deadline = \"5s\"\n");
  ASSERT_EQ(result.warnings.size(), 2u);
  EXPECT_EQ(result.warnings[0],
            "websocket.subprotocols = [\"chat\"] (file c.toml:5) has no effect: server.listen is "
            "empty, so nobody speaks WebSocket");
}

TEST(ConfigEffect, SettingsOfServicesAreNamedOnEcho) {
  ServerOptions options;
  const SettingTable table = settings_of(options, ServedBy::echo);
  const auto load_echo = [&](const Arguments& arguments) {
    const Program program{.command = "corelane echo", .check = [](ConfigResult& result) {
                            check_settings(result, ServedBy::echo, true);
                          }};
    return load_config(table, program, arguments, {}, read_whole_file);
  };
  EXPECT_EQ(load_echo({"--tcp-listen=127.0.0.1:0", "--max-channels=5", "--node-name=a",
                       "--max-channel-name=5", "--max-subscriptions=5"})
                .warnings.size(),
            5u);
  EXPECT_EQ(load_echo({"--max-message=5", "--origin=*"}).warnings, std::vector<std::string>{});
  EXPECT_FALSE(load_echo({"--server.listen="}).ok());
}

}  // namespace
}  // namespace corelane::services::config
