#pragma once
// Talk: what a client command works with on its core: the connection, and where it prints. Neither
// ever holds the core: stdout and stderr are written while the command goes on (tools/output.hpp).

#include <optional>
#include <string_view>

#include "runtime/combine.hpp"
#include "runtime/result.hpp"
#include "runtime/task.hpp"
#include "tools/client.hpp"
#include "tools/client_command.hpp"
#include "tools/exit_code.hpp"
#include "tools/output.hpp"

namespace corelane::tools {

// In the place of an exit code: the canceller knows why.
inline constexpr int kCancelled = -1;

struct Talk {
  Client& client;
  const ClientOptions& options;
  Output& out;
  Output& err;

  // One line to stdout. A command that prints without end waits for out.room() in between.
  void print(std::string_view line) const { out.line(line); }
  // One line to stderr: "corelane pub: TEXT".
  void complain(std::string_view text) const;

  // Says why a request had no reply; returns the exit code.
  int tell_failure(const runtime::Error& error) const;
  // Prints an Error of the server; returns the exit code. `message` must be one.
  int tell_server_error(Incoming& message) const;
  // For a reply of the wrong kind, or a damaged one.
  int tell_unreadable() const;

  // Sends a request and waits for its reply within the time limit. If there is none, or if it is an
  // Error, says so and sets `exit_code`.
  template <class Body>
  runtime::Task<std::optional<Incoming>> ask(const Body& body, int& exit_code) const;

  // Runs a command that waits for no events. Cancels it with a message if the server is gone, or
  // refuses a request for whose answer the command does not wait. Returns the exit code. `command`
  // is a temporary of the same co_await expression.
  runtime::Task<int> while_welcome(runtime::Task<int>&& command) const;
};

template <class Body>
runtime::Task<std::optional<Incoming>> Talk::ask(const Body& body, int& exit_code) const {
  auto reply = co_await runtime::with_timeout(options.timeout, client.request(body));
  if (!reply) {
    exit_code = tell_failure(reply.error());
    co_return std::nullopt;
  }
  if (reply->opcode() == protocol::Opcode::Error) {
    exit_code = tell_server_error(*reply);
    co_return std::nullopt;
  }
  co_return std::optional<Incoming>{std::move(*reply)};
}

}  // namespace corelane::tools
