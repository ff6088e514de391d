#include "tools/client_command.hpp"

#include <fmt/core.h>

#include <cerrno>
#include <csignal>
#include <cstdio>

#include "runtime/combine.hpp"
#include "runtime/features.hpp"
#include "runtime/runtime.hpp"
#include "runtime/signals.hpp"
#include "tools/client_output.hpp"
#include "tools/config_value.hpp"

namespace tools {

using runtime::ErrorCode;
using runtime::Task;

namespace {

// A command needs little: one connection.
runtime::RuntimeOptions small_runtime() {
  runtime::RuntimeOptions options;
  options.ring = {.entries = 64, .completion_entries = 1024, .direct_descriptors = 0};
  // Printing to a terminal may block for longer than a server's handler may.
  options.stall_threshold = 0;
  return options;
}

std::string describe_connect_error(const runtime::Error& error) {
  switch (error.code) {
    case ErrorCode::closed:
      return error.detail == 0
                 ? "it does not speak HTTP, or ended the connection; tcp:// is for ports of "
                   "--tcp-listen"
                 : fmt::format("it answered with HTTP status {} instead of opening a WebSocket",
                               error.detail);
    case ErrorCode::timed_out:
      return "no answer within the time limit (--timeout)";
    default:
      break;
  }
  const bool is_refused = error.code == ErrorCode::system && error.detail == ECONNREFUSED;
  return describe(error) + (is_refused ? "; is `corelane serve` running there?" : "");
}

int tell_not_connected(const ClientOptions& options, const runtime::Error& error) {
  complain(options, fmt::format("cannot connect to {}: {}", options.url->text,
                                describe_connect_error(error)));
  return error.code == ErrorCode::timed_out ? kExitTimeout : kExitNotConnected;
}

// The number of the signal that asks for the end; 0 if cancelled.
Task<int> until_signal(const runtime::BlockedSignals& blocked) {
  runtime::SignalStream signals(blocked);
  const auto signal = co_await signals.next();
  co_return signal ? *signal : 0;
}

Task<int> talk(Client& client, const ClientOptions& options, const ClientBody& body) {
  const auto connected =
      co_await runtime::with_timeout(options.timeout, client.connect(*options.url));
  if (!connected) co_return tell_not_connected(options, connected.error());
  co_return co_await body(client);
}

Task<int> client_main(const ClientOptions& options, const ClientBody& body,
                      const runtime::BlockedSignals& blocked) {
  Client client;
  const auto ended = co_await runtime::when_any(talk(client, options, body), until_signal(blocked));
  const int signal = std::get<1>(ended.values);
  co_await client.close();
  co_return signal == 0 ? std::get<0>(ended.values) : 128 + signal;
}

// "5s", "250ms"; a number alone is seconds.
std::optional<runtime::Nanoseconds> parse_timeout(const std::string& text) {
  if (const auto seconds = parse_count(text); seconds.value && *seconds.value <= 86'400) {
    return static_cast<runtime::Nanoseconds>(*seconds.value) * runtime::kSecond;
  }
  return parse_duration(text).value;
}

}  // namespace

std::unique_ptr<CLI::App> client_app(const std::string& description, ClientOptions& options) {
  auto app = std::make_unique<CLI::App>(description, "corelane " + options.command);
  app->add_option("-u,--url", options.url_text,
                  "the server: ws://host:port/path, tcp://host:port, unix:/path")
      ->capture_default_str()
      ->type_name("URL");
  app->add_option("-t,--timeout", options.timeout_text,
                  "how long to wait for a connection and for each answer (default 10s)")
      ->type_name("TIME");
  app->add_flag("-j,--json", options.json, "print one JSON object a line");
  app->footer(
      "Exit code: 0 done, 1 the server said no, 2 wrong arguments, 3 cannot connect, 4 no answer "
      "in "
      "time,\n5 connection lost, 6 no io_uring on this host, 7 stdout takes nothing more");
  return app;
}

std::optional<int> parse_client_arguments(CLI::App& app, const Arguments& arguments,
                                          ClientOptions& options) {
  try {
    // CLI11 takes the arguments from the back.
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    print_line(app.help());
    return kExitOk;
  } catch (const CLI::ParseError& error) {
    complain(options, fmt::format("{}; see corelane {} --help", error.what(), options.command));
    return kExitUsage;
  }
  if (!options.timeout_text.empty()) {
    const auto timeout = parse_timeout(options.timeout_text);
    if (!timeout || *timeout <= 0) {
      complain(options, fmt::format("--timeout {}: write 5s, 250ms or 2m", options.timeout_text));
      return kExitUsage;
    }
    options.timeout = *timeout;
  }
  ParsedUrl parsed = parse_server_url(options.url_text);
  if (!parsed.url) {
    complain(options, fmt::format("--url {}: {}", options.url_text, parsed.problem));
    return kExitUsage;
  }
  options.url = std::move(parsed.url);
  return std::nullopt;
}

int run_client(const ClientOptions& options, const ClientBody& body) {
  const runtime::BlockedSignals blocked({SIGINT, SIGTERM});
  runtime::Runtime runtime(small_runtime());
  const auto code = runtime.run([&] { return client_main(options, body, blocked); });
  if (code && *code == kExitOk && std::ferror(stdout) != 0) {
    complain(options, "stdout takes nothing more");
    return kExitOutputFailed;
  }
  if (code) return *code;
  const std::string reason = explain_unavailable(runtime::probe_features());
  complain(options, reason.empty() ? "cannot make a ring: " + describe(code.error()) : reason);
  return kExitUnavailable;
}

void complain(const ClientOptions& options, std::string_view text) {
  print_to_stderr(fmt::format("corelane {}: {}\n", options.command, text));
}

int tell_failure(const ClientOptions& options, const Client& client, const runtime::Error& error) {
  switch (error.code) {
    case ErrorCode::timed_out:
      complain(options, "no answer within the time limit (--timeout)");
      return kExitTimeout;
    case ErrorCode::closed:
      complain(options, client.end_text());
      return kExitLost;
    case ErrorCode::cancelled:
      return kExitLost;  // a signal decides the exit code
    default:
      complain(options, describe(error));
      return kExitLost;
  }
}

int tell_server_error(const ClientOptions& options, Incoming& message) {
  const auto* error = message.as<protocol::fbs::ErrorReply>(protocol::Opcode::Error);
  if (error == nullptr) {
    complain(options, "the server sent an error that cannot be read");
    return kExitServerError;
  }
  if (options.json) {
    print_line(json_error(*error));
  } else {
    complain(options, text_error(*error));
  }
  return kExitServerError;
}

void print_to_stderr(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
}

void print_line(std::string_view line) {
  std::fwrite(line.data(), 1, line.size(), stdout);
  if (line.empty() || line.back() != '\n') std::fputc('\n', stdout);
  std::fflush(stdout);
}

}  // namespace tools
