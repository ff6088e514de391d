// `whoami`, `ping` and `sub`: what asks, and what listens.

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>

#include "runtime/await.hpp"
#include "runtime/combine.hpp"
#include "runtime/core.hpp"
#include "tools/client_command.hpp"
#include "tools/client_output.hpp"

namespace tools {
namespace {

using protocol::Opcode;
using runtime::Core;
using runtime::Task;

int tell_unreadable(const ClientOptions& options) {
  complain(options, "the server sent a reply that cannot be read");
  return kExitServerError;
}

Task<int> whoami(Client& client, const ClientOptions& options) {
  int exit_code = kExitOk;
  auto reply = co_await ask(client, options, protocol::WhoAmIBody{}, exit_code);
  if (!reply) co_return exit_code;
  const auto* who = reply->as<protocol::fbs::WhoAmIReply>(Opcode::WhoAmIReply);
  if (who == nullptr) co_return tell_unreadable(options);
  print_line(options.json ? json_whoami(*who) : text_whoami(*who));
  co_return kExitOk;
}

struct PingSettings {
  std::uint64_t count = 1;
  std::size_t bytes = 32;
};

Task<int> ping(Client& client, const ClientOptions& options, const PingSettings& settings) {
  const std::vector<std::byte> data(settings.bytes, std::byte{'.'});
  for (std::uint64_t i = 0; i < settings.count; ++i) {
    const runtime::Nanoseconds start = Core::current().ring().now();
    int exit_code = kExitOk;
    protocol::PingBody body;
    body.data = data;
    auto reply = co_await ask(client, options, body, exit_code);
    if (!reply) co_return exit_code;
    const runtime::Nanoseconds round_trip = Core::current().ring().now() - start;
    const auto* pong = reply->as<protocol::fbs::PongReply>(Opcode::Pong);
    if (pong == nullptr) co_return tell_unreadable(options);
    print_line(options.json ? json_pong(round_trip, *pong) : text_pong(round_trip, *pong));
  }
  co_return kExitOk;
}

struct SubSettings {
  std::vector<std::string> channels;
  std::uint64_t count = 0;  // 0: without end
  bool has_deadline = false;
};

// Subscribes to all, and says so on stderr once all have been confirmed.
Task<int> subscribe(Client& client, const ClientOptions& options, const SubSettings& settings) {
  int exit_code = kExitOk;
  auto who_reply = co_await ask(client, options, protocol::WhoAmIBody{}, exit_code);
  if (!who_reply) co_return exit_code;
  const auto* who = who_reply->as<protocol::fbs::WhoAmIReply>(Opcode::WhoAmIReply);
  if (who == nullptr) co_return tell_unreadable(options);

  std::vector<std::string_view> names(settings.channels.begin(), settings.channels.end());
  protocol::SubscribeBody body;
  body.channels = names;
  auto reply = co_await ask(client, options, body, exit_code);
  if (!reply) co_return exit_code;
  const auto* results = reply->as<protocol::fbs::SubscribeReply>(Opcode::SubscribeReply);
  if (results == nullptr || results->results()->size() != names.size()) {
    co_return tell_unreadable(options);
  }
  for (flatbuffers::uoffset_t i = 0; i < results->results()->size(); ++i) {
    const protocol::ErrorCode code = results->results()->Get(i)->code();
    if (code == protocol::ErrorCode::none) continue;
    complain(options, fmt::format("{}: {}", names[i], protocol::error_code_name(code)));
    co_return kExitServerError;
  }
  print_to_stderr(fmt::format("subscribed to {} as session {}\n", fmt::join(names, ", "),
                              protocol::to_text(protocol::from_fbs(who->session()))));
  co_return kExitOk;
}

// Prints one message; false if it is none that is counted.
bool print_event(const ClientOptions& options, Incoming& message) {
  namespace fbs = protocol::fbs;
  if (const auto* event = message.as<fbs::ChannelEvent>(Opcode::Event)) {
    print_line(options.json ? json_event(*event) : text_event(*event));
    return true;
  }
  if (const auto* direct = message.as<fbs::DirectEvent>(Opcode::DirectMessage)) {
    const auto print = options.json ? json_direct : text_direct;
    print_line(print("direct", *direct->from(), protocol::bytes_of(direct->data())));
    return true;
  }
  if (const auto* all = message.as<fbs::BroadcastEvent>(Opcode::BroadcastMessage)) {
    const auto print = options.json ? json_direct : text_direct;
    print_line(print("broadcast", *all->from(), protocol::bytes_of(all->data())));
    return true;
  }
  if (message.opcode() == Opcode::Error) tell_server_error(options, message);
  return false;
}

Task<int> sub(Client& client, const ClientOptions& options, const SubSettings& settings) {
  const int subscribed = co_await subscribe(client, options, settings);
  if (subscribed != kExitOk) co_return subscribed;
  const runtime::Nanoseconds patience =
      settings.has_deadline ? options.timeout : 365 * 24 * 3600 * runtime::kSecond;
  for (std::uint64_t printed = 0; settings.count == 0 || printed < settings.count;) {
    auto event = co_await runtime::with_timeout(patience, client.event());
    if (!event) co_return tell_failure(options, client, event.error());
    if (print_event(options, *event)) ++printed;
    if (std::ferror(stdout) != 0) break;  // run_client() tells
  }
  co_return kExitOk;
}

}  // namespace

int run_whoami(const Arguments& arguments) {
  ClientOptions options("whoami");
  const auto app = client_app("Prints who the server takes this connection for.", options);
  if (const auto code = parse_client_arguments(*app, arguments, options)) return *code;
  return run_client(options, [&](Client& client) { return whoami(client, options); });
}

int run_ping(const Arguments& arguments) {
  ClientOptions options("ping");
  PingSettings settings;
  const auto app = client_app("Measures the way to the server's dispatcher and back.", options);
  app->add_option("-n,--count", settings.count, "how many, one after the other")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber)
      ->type_name("N");
  app->add_option("--bytes", settings.bytes, "bytes to carry there and back")
      ->capture_default_str()
      ->check(CLI::Range(0, 16 * 1024 * 1024))
      ->type_name("N");
  if (const auto code = parse_client_arguments(*app, arguments, options)) return *code;
  return run_client(options, [&](Client& client) { return ping(client, options, settings); });
}

int run_sub(const Arguments& arguments) {
  ClientOptions options("sub");
  SubSettings settings;
  const auto app = client_app(
      "Subscribes and prints a line for each message: CHANNEL OFFSET DATA, and what is sent to "
      "this "
      "session as direct FROM DATA and broadcast FROM DATA. Says on stderr when it is subscribed.",
      options);
  app->add_option("channels", settings.channels, "channels")->required()->type_name("CHANNEL");
  app->add_option("-n,--count", settings.count, "end after so many messages (default: go on)")
      ->check(CLI::NonNegativeNumber)
      ->type_name("N");
  if (const auto code = parse_client_arguments(*app, arguments, options)) return *code;
  // Who sets a time limit does not want to wait for a message without end either.
  settings.has_deadline = !options.timeout_text.empty();
  return run_client(options, [&](Client& client) { return sub(client, options, settings); });
}

}  // namespace tools
