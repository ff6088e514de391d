#pragma once
// What all client commands have in common: their flags, connecting, time limits, signals, exit
// codes, and how what the server says is printed.

#include <CLI/CLI.hpp>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/result.hpp"
#include "runtime/task.hpp"
#include "tools/client.hpp"
#include "tools/commands.hpp"
#include "tools/exit_code.hpp"

namespace tools {

struct ClientOptions {
  explicit ClientOptions(std::string name) : command(std::move(name)) {}

  std::string command;  // for messages
  std::string url_text{"ws://127.0.0.1:8080/"};
  std::string timeout_text;
  bool json = false;
  // From the texts, by parse_client_arguments().
  std::optional<ServerUrl> url;
  runtime::Nanoseconds timeout = 10 * runtime::kSecond;
};

// An argument parser with the flags that every client command has. `options` outlives it.
std::unique_ptr<CLI::App> client_app(const std::string& description, ClientOptions& options);
// Parses and resolves. An exit code if that was all there was to do (--help, or a mistake).
std::optional<int> parse_client_arguments(CLI::App& app, const Arguments& arguments,
                                          ClientOptions& options);

// Connects, runs `body` on a core, closes, and returns the exit code. SIGINT and SIGTERM cancel
// the body and end the connection properly; the exit code is then 128 + signal.
using ClientBody = std::function<runtime::Task<int>(Client& client)>;
int run_client(const ClientOptions& options, const ClientBody& body);

// Sends a request and waits for its reply within the time limit. If there is none, or if it is an
// Error, says so and sets `exit_code`.
template <class Body>
runtime::Task<std::optional<Incoming>> ask(Client& client, const ClientOptions& options,
                                           const Body& body, int& exit_code);

// --- Saying

// One line to stderr: "corelane pub: TEXT".
void complain(const ClientOptions& options, std::string_view text);
// Says why a request had no reply; returns the exit code.
int tell_failure(const ClientOptions& options, const Client& client, const runtime::Error& error);
// Prints an Error of the server; returns the exit code. `message` must be one.
int tell_server_error(const ClientOptions& options, Incoming& message);
// One line to stdout, at once: the reader may be a program that waits for it. What cannot be
// written makes run_client() end with kExitOutputFailed.
void print_line(std::string_view line);
// Not fmt::print(), which throws where stderr takes nothing.
void print_to_stderr(std::string_view text);

// --- Inline

template <class Body>
runtime::Task<std::optional<Incoming>> ask(Client& client, const ClientOptions& options,
                                           const Body& body, int& exit_code) {
  auto reply = co_await runtime::with_timeout(options.timeout, client.request(body));
  if (!reply) {
    exit_code = tell_failure(options, client, reply.error());
    co_return std::nullopt;
  }
  if (reply->opcode() == protocol::Opcode::Error) {
    exit_code = tell_server_error(options, *reply);
    co_return std::nullopt;
  }
  co_return std::optional<Incoming>{std::move(*reply)};
}

}  // namespace tools
