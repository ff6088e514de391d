// `metrics` and `top`: what a server counts, once and as a live screen.

#include <unistd.h>

#include <optional>

#include "runtime/await.hpp"
#include "tools/client_command.hpp"
#include "tools/metrics_screen.hpp"
#include "tools/talk.hpp"

namespace corelane::tools {
namespace {

using protocol::Opcode;
using runtime::Task;
namespace fbs = protocol::fbs;

constexpr std::uint16_t kSeconds = 60;
constexpr std::string_view kNoFigures = "-";  // begins no name
// To the upper left corner; behind the last line the rest of the screen is cleared.
constexpr std::string_view kHome = "\x1b[H";
constexpr std::string_view kClearBelow = "\x1b[J";
constexpr std::string_view kClearRight = "\x1b[K";

protocol::Bytes payload_of(const flatbuffers::FlatBufferBuilder& builder) {
  return std::as_bytes(std::span{builder.GetBufferPointer(), builder.GetSize()});
}

Task<std::optional<Incoming>> ask_node(const Talk& talk, std::string_view prefix, int& exit_code) {
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(
      fbs::CreateNodeMetricsRequest(builder, builder.CreateString(prefix.data(), prefix.size())));
  const protocol::RawBody body{.kOpcode = Opcode::NodeMetrics, .payload = payload_of(builder)};
  co_return co_await talk.ask(body, exit_code);
}

Task<std::optional<Incoming>> ask_dashboard(const Talk& talk, int& exit_code) {
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(fbs::CreateDashboardMetricsRequest(builder, kSeconds));
  const protocol::RawBody body{.kOpcode = Opcode::DashboardMetrics, .payload = payload_of(builder)};
  co_return co_await talk.ask(body, exit_code);
}

Task<int> metrics(const Talk& talk, const std::string& prefix) {
  int exit_code = kExitOk;
  auto message = co_await ask_node(talk, prefix, exit_code);
  if (!message) co_return exit_code;
  const auto* reply = message->as<fbs::NodeMetricsReply>(Opcode::NodeMetricsReply);
  if (reply == nullptr) co_return talk.tell_unreadable();
  talk.print(talk.options.json ? json_metrics(*reply) : text_metrics(*reply));
  co_return kExitOk;
}

Task<int> welcome_metrics(const Talk& talk, const std::string& prefix) {
  co_return co_await talk.while_welcome(metrics(talk, prefix));
}

struct TopSettings {
  bool once = false;
  std::uint64_t seconds = 1;
};

// Over what is there, line by line, so that it does not flicker.
std::string over_the_last(const std::string& screen) {
  std::string text{kHome};
  for (const char c : screen) {
    if (c == '\n') text += kClearRight;
    text += c;
  }
  return text + std::string{kClearBelow};
}

Task<int> show(const Talk& talk, bool is_live) {
  int exit_code = kExitOk;
  auto node_message = co_await ask_node(talk, kNoFigures, exit_code);
  if (!node_message) co_return exit_code;
  auto dashboard_message = co_await ask_dashboard(talk, exit_code);
  if (!dashboard_message) co_return exit_code;
  const auto* node = node_message->as<fbs::NodeMetricsReply>(Opcode::NodeMetricsReply);
  const auto* dashboard =
      dashboard_message->as<fbs::DashboardMetricsReply>(Opcode::DashboardMetricsReply);
  if (node == nullptr || dashboard == nullptr) co_return talk.tell_unreadable();
  if (talk.options.json) {
    talk.print(json_top(*node, *dashboard));
  } else {
    const std::string screen = text_top(*node, *dashboard);
    talk.print(is_live ? over_the_last(screen) : screen);
  }
  co_return kExitOk;
}

Task<int> top(const Talk& talk, const TopSettings& settings) {
  const bool is_live = !settings.once && !talk.options.json && ::isatty(STDOUT_FILENO) == 1;
  if (is_live) talk.print(std::string{kHome} + std::string{kClearBelow});
  for (;;) {
    const int code = co_await show(talk, is_live);
    if (code != kExitOk || settings.once) co_return code;
    const bool goes_on = co_await talk.out.room();
    if (!goes_on) co_return kCancelled;
    const auto pause = static_cast<runtime::Nanoseconds>(settings.seconds) * runtime::kSecond;
    const auto slept = co_await runtime::sleep_for(pause);
    if (!slept) co_return kCancelled;
  }
}

Task<int> welcome_top(const Talk& talk, const TopSettings& settings) {
  co_return co_await talk.while_welcome(top(talk, settings));
}

}  // namespace

int run_metrics(const Arguments& arguments) {
  ClientOptions options("metrics");
  std::string prefix;
  auto line = client_command_line(
      "Prints what the server has counted and holds now: cores, opcodes, and the sum over all "
      "cores of each figure.\nservices/metrics/README.md says what each means.",
      options);
  line.add_text("--figures", "PREFIX", prefix, "only figures whose name begins so");
  if (const auto code = parse_client_arguments(line, arguments, options)) return *code;
  return run_client(options, [&](Talk& talk) { return welcome_metrics(talk, prefix); });
}

int run_top(const Arguments& arguments) {
  ClientOptions options("top");
  TopSettings settings;
  auto line = client_command_line(
      "Shows the server's cores, rates, times and opcodes, again each second, in 80 columns. On no "
      "terminal, one\nscreen behind the other. Ctrl-C ends it.",
      options);
  line.add_flag("--once", settings.once, "print once and end");
  line.add_count("--every", "SECONDS", settings.seconds, {1, 3600},
                 "pause between two (default 1)");
  if (const auto code = parse_client_arguments(line, arguments, options)) return *code;
  return run_client(options, [&](Talk& talk) { return welcome_top(talk, settings); });
}

}  // namespace corelane::tools
