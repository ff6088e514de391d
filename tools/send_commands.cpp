// `pub`, `send` and `broadcast`: what hands data to the server.

#include <fmt/core.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <string>

#include "runtime/combine.hpp"
#include "tools/client_command.hpp"
#include "tools/client_output.hpp"
#include "tools/line_input.hpp"

namespace tools {
namespace {

using protocol::Bytes;
using protocol::Opcode;
using runtime::Task;

// What is sent between two looks at whether the server keeps up.
constexpr std::size_t kUnconfirmedBytesMax = 256 * 1024;

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
  Sender(Client& client, const ClientOptions& options, const SendSettings& settings)
      : client_(client), options_(options), settings_(settings) {}

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
    if (!client_.post(body)) {
      co_return tell_failure(
          options_, client_,
          {client_.is_open() ? runtime::ErrorCode::limit_exceeded : runtime::ErrorCode::closed, 0});
    }
    unconfirmed_bytes_ += body.data.size() + 1;
    if (unconfirmed_bytes_ > kUnconfirmedBytesMax) co_return co_await confirm();
    co_return kExitOk;
  }

  template <class Body>
  Task<int> send_acknowledged(const Body& body) {
    int code = kExitOk;
    auto reply = co_await ask(client_, options_, body, code);
    if (!reply) co_return code;
    const auto* ack = reply->template as<protocol::fbs::AckReply>(Opcode::Ack);
    if (ack == nullptr) {
      complain(options_, "the server sent a reply that cannot be read");
      co_return kExitServerError;
    }
    if (settings_.ack) print_line(options_.json ? json_ack(*ack) : text_ack(*ack));
    co_return kExitOk;
  }

  // A ping that has come back says that the server has taken everything before it; Errors about
  // that are here by then.
  Task<int> confirm() {
    unconfirmed_bytes_ = 0;
    int code = kExitOk;
    const auto pong = co_await ask(client_, options_, protocol::PingBody{}, code);
    if (!pong) co_return code;
    while (auto error = client_.take_event()) {
      if (error->opcode() == Opcode::Error) co_return tell_server_error(options_, *error);
    }
    co_return kExitOk;
  }

  int tell_input_failure(const runtime::Error& error) {
    if (error.code == runtime::ErrorCode::limit_exceeded) {
      complain(options_, fmt::format("a message from stdin is longer than {} bytes", error.detail));
      return kExitUsage;
    }
    if (error.code != runtime::ErrorCode::cancelled) {
      complain(options_, "cannot read stdin: " + describe(error));
    }
    return kExitUsage;
  }

  Client& client_;
  const ClientOptions& options_;
  const SendSettings& settings_;
  std::size_t unconfirmed_bytes_ = 0;
};

Task<int> publish(Client& client, const ClientOptions& options, const SendSettings& settings) {
  Sender sender(client, options, settings);
  co_return co_await sender.run([&](Bytes data) {
    protocol::PublishBody body;
    body.channel = settings.channel;
    body.data = data;
    body.requires_ack = settings.ack;
    return body;
  });
}

Task<int> send_direct(Client& client, const ClientOptions& options, const SendSettings& settings) {
  Sender sender(client, options, settings);
  co_return co_await sender.run([&](Bytes data) {
    protocol::SendBody body;
    body.session = settings.session;
    body.data = data;
    // A session that is not there would go unnoticed otherwise.
    body.requires_ack = true;
    return body;
  });
}

Task<int> broadcast(Client& client, const ClientOptions& options, const SendSettings& settings) {
  Sender sender(client, options, settings);
  co_return co_await sender.run([&](Bytes data) {
    protocol::BroadcastBody body;
    body.data = data;
    body.requires_ack = settings.ack;
    body.include_self = settings.include_self;
    return body;
  });
}

void add_data_options(CLI::App& app, SendSettings& settings) {
  app.add_option("data", settings.data, "what to send; - takes each line of stdin as a message")
      ->required()
      ->type_name("DATA|-");
  app.add_flag("--whole", settings.whole, "with -: all of stdin is one message");
  app.add_flag("-a,--ack", settings.ack,
               "wait until it was handed over, and print to how many sessions");
}

}  // namespace

int run_pub(const Arguments& arguments) {
  ClientOptions options("pub");
  SendSettings settings;
  const auto app = client_app("Publishes to a channel.", options);
  app->add_option("channel", settings.channel, "channel")->required()->type_name("CHANNEL");
  add_data_options(*app, settings);
  if (const auto code = parse_client_arguments(*app, arguments, options)) return *code;
  return run_client(options, [&](Client& client) { return publish(client, options, settings); });
}

int run_send(const Arguments& arguments) {
  ClientOptions options("send");
  SendSettings settings;
  const auto app = client_app("Sends to one session, as `sub` and `whoami` name them.", options);
  app->add_option("session", settings.session_text, "the session's id")
      ->required()
      ->type_name("SESSION");
  add_data_options(*app, settings);
  if (const auto code = parse_client_arguments(*app, arguments, options)) return *code;
  const auto session = protocol::parse_uuid(settings.session_text);
  if (!session) {
    complain(options, fmt::format("{} is no session id: it looks like "
                                  "33333333-3333-3333-3333-333333333333",
                                  settings.session_text));
    return kExitUsage;
  }
  settings.session = *session;
  return run_client(options,
                    [&](Client& client) { return send_direct(client, options, settings); });
}

int run_broadcast(const Arguments& arguments) {
  ClientOptions options("broadcast");
  SendSettings settings;
  const auto app = client_app("Sends to every session of the server.", options);
  add_data_options(*app, settings);
  app->add_flag("--include-self", settings.include_self, "to this session too");
  if (const auto code = parse_client_arguments(*app, arguments, options)) return *code;
  return run_client(options, [&](Client& client) { return broadcast(client, options, settings); });
}

}  // namespace tools
