// `pub`, `send` and `broadcast`: what hands data to the server.

#include <fmt/core.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "tools/client_command.hpp"
#include "tools/client_output.hpp"
#include "tools/line_input.hpp"
#include "tools/talk.hpp"

namespace corelane::tools {
namespace {

using protocol::Bytes;
using protocol::Opcode;
using runtime::Task;

// Most bytes in flight without a confirmation of the server.
constexpr std::size_t kUnconfirmedBytesMax = 1024 * 1024;
// The approximate cost of a message beside its data: an empty line is a message, too.
constexpr std::size_t kMessageOverheadBytes = 128;

struct SendSettings {
  std::string channel;
  std::string session_text;
  protocol::Uuid session{};
  std::string data;  // "-": stdin
  bool whole = false;
  bool ack = false;
  bool include_self = false;
};

class Sender {
 public:
  Sender(const Talk& talk, const SendSettings& settings) : talk_(talk), settings_(settings) {}

  // Makes the body that carries `data`.
  template <class MakeBody>
  Task<int> run(const MakeBody& make_body) {
    int code = kExitOk;
    if (settings_.data != "-") {
      code = co_await send(make_body(bytes_of(settings_.data)));
    } else if (settings_.whole) {
      LineInput input(STDIN_FILENO);
      const auto all = co_await input.rest();
      if (!all) co_return tell_input_failure(all.error());
      code = co_await send(make_body(bytes_of(*all)));
    } else {
      code = co_await send_lines(make_body);
    }
    if (code == kExitOk) code = co_await confirm();
    co_return code;
  }

 private:
  static Bytes bytes_of(const std::string& text) { return std::as_bytes(std::span{text}); }

  template <class MakeBody>
  Task<int> send_lines(const MakeBody& make_body) {
    LineInput input(STDIN_FILENO);
    for (;;) {
      const auto line = co_await input.next_line();
      if (!line) co_return tell_input_failure(line.error());
      if (!*line) co_return kExitOk;
      const int code = co_await send(make_body(bytes_of(**line)));
      if (code != kExitOk) co_return code;
    }
  }

  template <class Body>
  Task<int> send(Body body) {
    if (body.requires_ack) co_return co_await send_acknowledged(body);
    if (!talk_.client.post(body)) {
      const bool is_full = talk_.client.is_open();
      co_return talk_.tell_failure(
          {is_full ? runtime::ErrorCode::limit_exceeded : runtime::ErrorCode::closed, 0});
    }
    unconfirmed_bytes_ += body.data.size() + kMessageOverheadBytes;
    if (unconfirmed_bytes_ > kUnconfirmedBytesMax) co_return co_await confirm();
    co_return kExitOk;
  }

  template <class Body>
  Task<int> send_acknowledged(const Body& body) {
    int code = kExitOk;
    auto reply = co_await talk_.ask(body, code);
    if (!reply) co_return code;
    const auto* ack = reply->template as<protocol::fbs::AckReply>(Opcode::Ack);
    if (ack == nullptr) co_return talk_.tell_unreadable();
    if (!settings_.ack) co_return kExitOk;
    talk_.print(talk_.options.json ? json_ack(*ack) : text_ack(*ack));
    const bool goes_on = co_await talk_.out.room();
    co_return goes_on ? kExitOk : kCancelled;
  }

  // A ping that has come back says that the server has taken everything before it; Errors about
  // that are here by then.
  Task<int> confirm() {
    unconfirmed_bytes_ = 0;
    int code = kExitOk;
    const auto pong = co_await talk_.ask(protocol::PingBody{}, code);
    co_return pong ? kExitOk : code;
  }

  int tell_input_failure(const runtime::Error& error) const {
    if (error.code == runtime::ErrorCode::cancelled) return kCancelled;
    if (error.code == runtime::ErrorCode::limit_exceeded) {
      talk_.complain(fmt::format("a message from stdin is longer than {} bytes", error.detail));
    } else {
      talk_.complain("cannot read stdin: " + describe(error));
    }
    return kExitUsage;
  }

  const Talk& talk_;
  const SendSettings& settings_;
  std::size_t unconfirmed_bytes_ = 0;
};

Task<int> publish(const Talk& talk, const SendSettings& settings) {
  Sender sender(talk, settings);
  co_return co_await sender.run([&](Bytes data) {
    protocol::PublishBody body;
    body.channel = settings.channel;
    body.data = data;
    body.requires_ack = settings.ack;
    return body;
  });
}

Task<int> send_direct(const Talk& talk, const SendSettings& settings) {
  Sender sender(talk, settings);
  co_return co_await sender.run([&](Bytes data) {
    protocol::SendBody body;
    body.session = settings.session;
    body.data = data;
    // A session that is not there would go unnoticed otherwise.
    body.requires_ack = true;
    return body;
  });
}

Task<int> broadcast(const Talk& talk, const SendSettings& settings) {
  Sender sender(talk, settings);
  co_return co_await sender.run([&](Bytes data) {
    protocol::BroadcastBody body;
    body.data = data;
    body.requires_ack = settings.ack;
    body.include_self = settings.include_self;
    return body;
  });
}

using SendCommand = Task<int> (*)(const Talk& talk, const SendSettings& settings);

// Whatever comes first decides: input, an answer, an Error, the end of the connection.
Task<int> run_welcome(const Talk& talk, const SendSettings& settings, SendCommand command) {
  co_return co_await talk.while_welcome(command(talk, settings));
}

int run_sender(ClientOptions& options, const SendSettings& settings, SendCommand command) {
  options.prints = settings.ack;
  return run_client(options, [&](Talk& talk) { return run_welcome(talk, settings, command); });
}

void add_data(CommandLine& line, SendSettings& settings) {
  line.add_argument("DATA|-", settings.data,
                    "what to send; - takes each line of stdin as a message");
  line.add_flag("--whole", settings.whole, "with -: all of stdin is one message");
  line.add_flag("-a,--ack", settings.ack,
                "wait until it was handed over, and print to how many sessions");
}

}  // namespace

int run_pub(const Arguments& arguments) {
  ClientOptions options("pub");
  SendSettings settings;
  auto line = client_command_line("Publishes to a channel.", options);
  line.add_argument("CHANNEL", settings.channel, "the channel");
  add_data(line, settings);
  if (const auto code = parse_client_arguments(line, arguments, options)) return *code;
  return run_sender(options, settings, publish);
}

int run_send(const Arguments& arguments) {
  ClientOptions options("send");
  SendSettings settings;
  auto line =
      client_command_line("Sends to one session, as `sub` and `whoami` name them.", options);
  line.add_argument("SESSION", settings.session_text, "the session's id");
  add_data(line, settings);
  if (const auto code = parse_client_arguments(line, arguments, options)) return *code;
  const auto session = protocol::parse_uuid(settings.session_text);
  if (!session) {
    complain(options, fmt::format("{} is no session id: it looks like "
                                  "33333333-3333-3333-3333-333333333333",
                                  settings.session_text));
    return kExitUsage;
  }
  settings.session = *session;
  return run_sender(options, settings, send_direct);
}

int run_broadcast(const Arguments& arguments) {
  ClientOptions options("broadcast");
  SendSettings settings;
  auto line = client_command_line("Sends to every session of the server.", options);
  add_data(line, settings);
  line.add_flag("--include-self", settings.include_self, "to this session too");
  if (const auto code = parse_client_arguments(line, arguments, options)) return *code;
  return run_sender(options, settings, broadcast);
}

}  // namespace corelane::tools
