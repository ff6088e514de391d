// `whoami`, `ping` and `sub`: what asks, and what listens.

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <optional>

#include "runtime/await.hpp"
#include "runtime/combine.hpp"
#include "runtime/core.hpp"
#include "tools/client_command.hpp"
#include "tools/client_output.hpp"
#include "tools/talk.hpp"

namespace corelane::tools {
namespace {

using protocol::Opcode;
using runtime::Core;
using runtime::Task;

Task<int> whoami(const Talk& talk) {
  int exit_code = kExitOk;
  auto reply = co_await talk.ask(protocol::WhoAmIBody{}, exit_code);
  if (!reply) co_return exit_code;
  const auto* who = reply->as<protocol::fbs::WhoAmIReply>(Opcode::WhoAmIReply);
  if (who == nullptr) co_return talk.tell_unreadable();
  talk.print(talk.options.json ? json_whoami(*who) : text_whoami(*who));
  co_return kExitOk;
}

struct PingSettings {
  std::uint64_t count = 1;
  std::uint64_t bytes = 32;
};

Task<int> ping(const Talk& talk, const PingSettings& settings) {
  const std::vector<std::byte> data(settings.bytes, std::byte{'.'});
  for (std::uint64_t i = 0; i < settings.count; ++i) {
    const runtime::Nanoseconds start = Core::current().ring().now();
    int exit_code = kExitOk;
    protocol::PingBody body;
    body.data = data;
    auto reply = co_await talk.ask(body, exit_code);
    if (!reply) co_return exit_code;
    const runtime::Nanoseconds round_trip = Core::current().ring().now() - start;
    const auto* pong = reply->as<protocol::fbs::PongReply>(Opcode::Pong);
    if (pong == nullptr) co_return talk.tell_unreadable();
    talk.print(talk.options.json ? json_pong(round_trip, *pong) : text_pong(round_trip, *pong));
    const bool goes_on = co_await talk.out.room();
    if (!goes_on) co_return kCancelled;
  }
  co_return kExitOk;
}

Task<int> welcome_ping(const Talk& talk, const PingSettings& settings) {
  co_return co_await talk.while_welcome(ping(talk, settings));
}

struct SubSettings {
  std::vector<std::string> channels;
  std::uint64_t count = 0;  // 0: without end
  bool has_deadline = false;
};

// A SubscribeReply has codes alone.
std::string_view why_refused(protocol::ErrorCode code) {
  switch (code) {
    case protocol::ErrorCode::channel_name_invalid:
      return ": a channel name has 1 byte or more, at most the server's "
             "limits.channel_name_bytes_max, of UTF-8 without control characters";
    case protocol::ErrorCode::already_subscribed:
      return ": it is named twice";
    case protocol::ErrorCode::too_many_subscriptions:
      return ": more channels than the server's limits.subscriptions_per_session_max";
    case protocol::ErrorCode::limit_exceeded:
      return ": the server has as many channels as its limits.channels_max";
    default:
      return "";
  }
}

// Subscribes to all, and says so on stderr once all have been confirmed.
Task<int> subscribe(const Talk& talk, const SubSettings& settings) {
  int exit_code = kExitOk;
  auto who_reply = co_await talk.ask(protocol::WhoAmIBody{}, exit_code);
  if (!who_reply) co_return exit_code;
  const auto* who = who_reply->as<protocol::fbs::WhoAmIReply>(Opcode::WhoAmIReply);
  if (who == nullptr) co_return talk.tell_unreadable();

  std::vector<std::string_view> names(settings.channels.begin(), settings.channels.end());
  protocol::SubscribeBody body;
  body.channels = names;
  auto reply = co_await talk.ask(body, exit_code);
  if (!reply) co_return exit_code;
  const auto* results = reply->as<protocol::fbs::SubscribeReply>(Opcode::SubscribeReply);
  if (results == nullptr || results->results()->size() != names.size()) {
    co_return talk.tell_unreadable();
  }
  for (flatbuffers::uoffset_t i = 0; i < results->results()->size(); ++i) {
    const protocol::ErrorCode code = results->results()->Get(i)->code();
    if (code == protocol::ErrorCode::none) continue;
    talk.complain(fmt::format("\"{}\": {}{}", to_printable(std::as_bytes(std::span{names[i]})),
                              protocol::error_code_name(code), why_refused(code)));
    co_return kExitServerError;
  }
  talk.err.line(fmt::format("subscribed to {} as session {}\n", fmt::join(names, ", "),
                            protocol::to_text(protocol::from_fbs(who->session()))));
  co_return kExitOk;
}

// Prints one message; false if it is none that is counted.
bool print_event(const Talk& talk, Incoming& message) {
  namespace fbs = protocol::fbs;
  if (const auto* event = message.as<fbs::ChannelEvent>(Opcode::Event)) {
    talk.print(talk.options.json ? json_event(*event) : text_event(*event));
    return true;
  }
  if (const auto* direct = message.as<fbs::DirectEvent>(Opcode::DirectMessage)) {
    const auto print = talk.options.json ? json_direct : text_direct;
    talk.print(print("direct", *direct->from(), protocol::bytes_of(direct->data())));
    return true;
  }
  if (const auto* all = message.as<fbs::BroadcastEvent>(Opcode::BroadcastMessage)) {
    const auto print = talk.options.json ? json_direct : text_direct;
    talk.print(print("broadcast", *all->from(), protocol::bytes_of(all->data())));
    return true;
  }
  if (message.opcode() == Opcode::Error) talk.tell_server_error(message);
  return false;
}

constexpr runtime::Nanoseconds kForever = 365 * 24 * 3600 * runtime::kSecond;

// Ends only if it cannot subscribe, or is cancelled.
Task<int> stay_subscribed(const Talk& talk, const SubSettings& settings, bool& is_subscribed) {
  const int code = co_await subscribe(talk, settings);
  if (code != kExitOk) co_return code;
  is_subscribed = true;
  co_await runtime::sleep_for(kForever);
  co_return kCancelled;
}

// Prints messages until there were enough of them. Errors: those of Client::event(), timed_out.
Task<runtime::Result<void>> print_events(const Talk& talk, const SubSettings& settings,
                                         const bool& is_subscribed) {
  const runtime::Nanoseconds patience = settings.has_deadline ? talk.options.timeout : kForever;
  for (std::uint64_t printed = 0; settings.count == 0 || printed < settings.count;) {
    std::optional<Incoming> event = talk.client.take_event();
    if (!event) {
      auto next = co_await runtime::with_timeout(patience, talk.client.event());
      if (!next) {
        const bool is_early = next.error().code == runtime::ErrorCode::timed_out && !is_subscribed;
        if (is_early) continue;
        co_return runtime::Unexpected{next.error()};
      }
      event = std::move(*next);
    }
    if (print_event(talk, *event)) ++printed;
    // While there is none the client's queue fills, and then it reads no more from the server.
    const bool goes_on = co_await talk.out.room();
    if (!goes_on) co_return runtime::fail(runtime::ErrorCode::cancelled);
  }
  co_return runtime::Result<void>{};
}

// Prints while it subscribes: events may come ahead of the reply, more of them than wait in memory.
Task<int> sub(const Talk& talk, const SubSettings& settings) {
  talk.client.listen();
  bool is_subscribed = false;
  const auto any = co_await runtime::when_any(print_events(talk, settings, is_subscribed),
                                              stay_subscribed(talk, settings, is_subscribed));
  const auto& printed = std::get<0>(any.values).value();
  if (printed) co_return kExitOk;
  // If the connection ends while it subscribes, both notice.
  const int subscribing = std::get<1>(any.values).value();
  co_return subscribing != kCancelled ? subscribing : talk.tell_failure(printed.error());
}

}  // namespace

int run_whoami(const Arguments& arguments) {
  ClientOptions options("whoami");
  auto line = client_command_line("Prints how the server sees this connection.", options);
  if (const auto code = parse_client_arguments(line, arguments, options)) return *code;
  return run_client(options, [](Talk& talk) -> Task<int> {
    co_return co_await talk.while_welcome(whoami(talk));
  });
}

int run_ping(const Arguments& arguments) {
  ClientOptions options("ping");
  PingSettings settings;
  auto line = client_command_line("Measures the way to the server's dispatcher and back.", options);
  line.add_count("-n,--count", "N", settings.count, {0, UINT64_MAX},
                 "how many, one after the other; 0 only connects (default 1)");
  line.add_count("--bytes", "N", settings.bytes, {0, 16 * 1024 * 1024},
                 "bytes to carry there and back (default 32)");
  if (const auto code = parse_client_arguments(line, arguments, options)) return *code;
  return run_client(options, [&](Talk& talk) { return welcome_ping(talk, settings); });
}

int run_sub(const Arguments& arguments) {
  ClientOptions options("sub");
  SubSettings settings;
  auto line = client_command_line(
      "Subscribes and prints a line for each message: CHANNEL OFFSET DATA, and what is sent to "
      "this session as\ndirect FROM DATA and broadcast FROM DATA. Says on stderr when it is "
      "subscribed.",
      options);
  line.add_arguments("CHANNEL", settings.channels, "channels");
  line.add_count("-n,--count", "N", settings.count, {0, UINT64_MAX},
                 "end after N messages; 0 goes on for ever (default 0)");
  if (const auto code = parse_client_arguments(line, arguments, options)) return *code;
  // A time limit that is asked for holds for the wait for a message, too.
  settings.has_deadline = options.timeout_text.has_value();
  return run_client(options, [&](Talk& talk) { return sub(talk, settings); });
}

}  // namespace corelane::tools
