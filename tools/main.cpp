// The corelane program: finds the command that the first word names.

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <string_view>
#include <system_error>

#include "runtime/log.hpp"
#include "runtime/standard_stream.hpp"
#include "services/config/value.hpp"
#include "services/version.hpp"
#include "tools/commands.hpp"
#include "tools/doctor.hpp"
#include "tools/exit_code.hpp"
#include "tools/host_limits.hpp"

namespace corelane::tools {

using services::config::nearest_name;
namespace {

struct Command {
  std::string_view name;
  std::string_view arguments;
  std::string_view summary;
  int (*run)(const Arguments& arguments);
};

constexpr std::array kCommands{
    Command{"serve", "", "the server: WebSocket, HTTP and TCP on all cores", run_serve},
    Command{"echo", "--listen ADDR:PORT", "a raw WebSocket echo on any path", run_echo},
    Command{"whoami", "", "how the server sees this connection", run_whoami},
    Command{"ping", "", "measure the way to the server and back", run_ping},
    Command{"sub", "CHANNEL...", "subscribe and print what arrives", run_sub},
    Command{"pub", "CHANNEL DATA|-", "publish; - reads lines from stdin", run_pub},
    Command{"send", "SESSION DATA|-", "send to one session", run_send},
    Command{"broadcast", "DATA|-", "send to all sessions", run_broadcast},
    Command{"quota", "get|set ...", "read and set what a client may ask for", run_quota},
    Command{"cache", "get|set|del|incr|mget|stats", "read and change the cache", run_cache},
    Command{"metrics", "[--figures PREFIX]", "what the server has counted", run_metrics},
    Command{"top", "[--once]", "a live screen of the server", run_top},
    Command{"doctor", "[--json]", "can this host run Corelane at full speed", run_doctor_command},
    Command{"version", "", "print the version", run_version},
    Command{"help", "[COMMAND]", "print this text, or that of a command", run_help},
};

const Command* find_command(std::string_view name) {
  const auto* const found = std::find_if(kCommands.begin(), kCommands.end(),
                                         [&](const Command& one) { return one.name == name; });
  return found == kCommands.end() ? nullptr : found;
}

void print_usage(std::FILE* to) {
  fmt::print(to, "corelane: a real-time messaging server and its command line\n\n");
  for (const Command& command : kCommands) {
    fmt::print(to, "  corelane {:<30} {}\n", fmt::format("{} {}", command.name, command.arguments),
               command.summary);
  }
  fmt::print(to,
             "\n`corelane COMMAND --help` lists the flags of a command.\n"
             "Try it: `corelane serve` in one terminal, `corelane sub news` in another one, and\n"
             "`corelane pub news hello` in a third.\n");
}

int unknown_command(const std::string& name) {
  std::vector<std::string> names;
  names.reserve(kCommands.size());
  for (const Command& command : kCommands) names.emplace_back(command.name);
  const std::string_view nearest = nearest_name(name, names);
  fmt::print(stderr, "corelane: there is no command {}{}; `corelane help` lists them\n", name,
             nearest.empty() ? "" : fmt::format("; did you mean {}?", nearest));
  return kExitUsage;
}

// Prints a start-up failure that no command handles: a resource limit of the host is too low.
void tell_failure(std::string_view command, std::string_view why) {
  const std::string line = fmt::format("corelane {}: cannot start: {}\n", command, why);
  std::fwrite(line.data(), 1, line.size(), stderr);
}

int run(const Arguments& words) {
  if (words.empty()) {
    print_usage(stderr);
    return kExitUsage;
  }
  std::string name = words.front();
  if (name == "--help" || name == "-h") name = "help";
  if (name == "--version" || name == "-V") name = "version";
  const Command* command = find_command(name);
  if (command == nullptr) return unknown_command(name);
  try {
    return command->run(Arguments(words.begin() + 1, words.end()));
  } catch (const std::system_error& error) {
    if (std::ferror(stdout) != 0) return kExitOutputFailed;
    tell_failure(name, fmt::format("{} {}", error.what(), explain_limit(error.code().value())));
  } catch (const std::bad_alloc& error) {
    tell_failure(name, fmt::format("{}; {}", error.what(), explain_limit(ENOMEM)));
  } catch (const std::exception& error) {
    tell_failure(name, error.what());
  }
  return kExitServerError;
}

}  // namespace

int run_doctor_command(const Arguments& arguments) {
  bool json = false;
  for (const std::string& argument : arguments) {
    if (argument == "--json") {
      json = true;
    } else if (argument == "--help" || argument == "-h") {
      fmt::print(
          "corelane doctor [--json]\n\nSays whether this host can run Corelane at full speed, and "
          "what exactly to change.\nExit code: 0 all is well, 1 works but slower or smaller, 2 "
          "cannot run.\n");
      return kExitOk;
    } else {
      fmt::print(stderr, "corelane doctor: {} is no flag of it: --json, --help\n", argument);
      return kExitUsage;
    }
  }
  return run_doctor(json);
}

int run_version(const Arguments&) {
  fmt::print("corelane {}\n", services::version());
  return kExitOk;
}

int run_help(const Arguments& arguments) {
  if (arguments.empty()) {
    print_usage(stdout);
    return kExitOk;
  }
  const Command* command = find_command(arguments.front());
  if (command == nullptr) return unknown_command(arguments.front());
  if (command->name == "help" || command->name == "version") {
    print_usage(stdout);
    return kExitOk;
  }
  return command->run({"--help"});
}

namespace {

// The last resort: an unexpected failure ends with a line and an exit code, not with abort().
// Expected failures are reported where they happen.
int run_or_tell(const Arguments& words) {
  try {
    const int code = run(words);
    // ferror(): output of an earlier failed flush is no longer in the buffer.
    const bool is_written = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
    return is_written || code != kExitOk ? code : kExitOutputFailed;
  } catch (const std::exception& error) {
    if (std::ferror(stdout) != 0) return kExitOutputFailed;
    runtime::log_last_words(fmt::format("corelane: error: {}\n", error.what()));
    return kExitServerError;
  }
}

// The first static initialiser (CLI11's validators) allocates: a limit of memory that is too low
// for it must be told before. As early as the check of the processor (runtime/cpu_level.cpp), and
// as independent of what static initialisers set up.
[[gnu::constructor(102)]] void tell_of_too_little_memory() noexcept {
  end_when_out_of_memory();
}

}  // namespace
}  // namespace corelane::tools

int main(int argc, char** argv) {
  corelane::runtime::hold_standard_descriptors();
  std::signal(SIGPIPE, SIG_IGN);  // a reader that is gone is an exit code
  return corelane::tools::run_or_tell(corelane::tools::Arguments(argv + 1, argv + argc));
}
