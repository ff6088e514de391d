#pragma once
// What all client commands have in common: their flags, connecting, time limits, signals, exit
// codes. What they do on their core is written with tools/talk.hpp.

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/result.hpp"
#include "runtime/task.hpp"
#include "tools/client.hpp"
#include "tools/command_line.hpp"
#include "tools/commands.hpp"
#include "tools/exit_code.hpp"
#include "tools/name_lookup.hpp"

namespace corelane::tools {

struct ClientOptions {
  explicit ClientOptions(std::string name) : command(std::move(name)) {}

  std::string command;  // for messages
  std::string url_text{"ws://127.0.0.1:8080/"};
  std::optional<std::string> timeout_text;
  bool json = false;
  bool prints = true;  // its output is what the command is for: without a reader it ends
  Resolver resolver = ask_name_service;
  // From the texts, by parse_client_arguments().
  std::optional<ServerUrl> url;
  runtime::Nanoseconds timeout = 10 * runtime::kSecond;
};

// A command line with the flags that every client command has. `options` outlives it.
CommandLine client_command_line(const std::string& description, ClientOptions& options);
// An exit code if that was all there was to do (--help, or a mistake).
std::optional<int> parse_client_arguments(CommandLine& line, const Arguments& arguments,
                                          ClientOptions& options);

// Connects, runs `body` on a core, closes, and returns the exit code. SIGINT and SIGTERM cancel
// the body and end the connection properly; the exit code is then 128 + signal. A stdout that takes
// nothing more cancels it as well, at once if the command prints (ClientOptions::prints). What was
// printed is waited for, however long its reader takes; a signal ends that.
struct Talk;
using ClientBody = std::function<runtime::Task<int>(Talk& talk)>;
int run_client(const ClientOptions& options, const ClientBody& body);

// --- Saying, where no core runs yet

// One line to stderr: "corelane pub: TEXT".
void complain(const ClientOptions& options, std::string_view text);
// One line to stdout.
void print_line(std::string_view line);

}  // namespace corelane::tools
