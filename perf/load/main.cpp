// corelane-load: offers load to a server and reports what came back and what it cost. Exit status:
// 0 all was well, 1 the server answered wrongly, lost something or closed, 2 wrong usage, 3 the
// load could not be run.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "perf/load/echo_load.hpp"
#include "perf/load/idle_load.hpp"
#include "perf/load/report.hpp"
#include "runtime/host.hpp"

namespace {

constexpr int kServerFaulty = 1;
constexpr int kUsage = 2;
constexpr int kNotRun = 3;
constexpr std::uint32_t kDescriptorsBeside = 64;  // ring, files, standard streams

struct Command {
  std::string url;
  double seconds = 5;
  double warmup_seconds = 1;
  double hold_seconds = 2;
  bool json = false;
  perf::EchoOptions echo;
  perf::IdleOptions idle;
};

runtime::Nanoseconds in_ns(double seconds) noexcept {
  return static_cast<runtime::Nanoseconds>(seconds * 1e9);
}

void add_echo(CLI::App& app, Command& command) {
  perf::EchoOptions& options = command.echo;
  CLI::App* echo = app.add_subcommand("echo", "Closed loop of messages that must come back.");
  echo->add_option("--url", command.url, "ws://ADDR:PORT/PATH or tcp://ADDR:PORT")->required();
  echo->add_option("--connections", options.connections)
      ->check(CLI::Range(1U, 1'000'000U))
      ->capture_default_str();
  echo->add_option("--depth", options.depth, "messages on their way, a connection")
      ->check(CLI::Range(1U, 65'536U))
      ->capture_default_str();
  echo->add_option("--size", options.payload_bytes, "bytes of payload")
      ->check(CLI::Range(1U, 16U << 20))
      ->capture_default_str();
  echo->add_option("--seconds", command.seconds, "measured")
      ->check(CLI::Range(0.01, 86'400.0))
      ->capture_default_str();
  echo->add_option("--warmup", command.warmup_seconds, "seconds before that")
      ->check(CLI::Range(0.0, 3'600.0))
      ->capture_default_str();
  echo->add_option("--cpu", options.cpu, "pin the client to this CPU");
  echo->add_option("--server-pid", options.server_pid, "measure this process too");
  echo->add_flag("--json", command.json, "one line of JSON");
}

void add_idle(CLI::App& app, Command& command) {
  perf::IdleOptions& options = command.idle;
  CLI::App* idle = app.add_subcommand("idle", "Memory of connections that say nothing.");
  idle->add_option("--url", command.url, "ws://ADDR:PORT/PATH or tcp://ADDR:PORT")->required();
  idle->add_option("--connections", options.connections)
      ->check(CLI::Range(1U, 28'000U))
      ->capture_default_str();
  idle->add_option("--hold", command.hold_seconds, "seconds before memory is read")
      ->check(CLI::Range(0.0, 86'400.0))
      ->capture_default_str();
  idle->add_option("--cpu", options.cpu, "pin the client to this CPU");
  idle->add_option("--server-pid", options.server_pid, "whose memory to read")->required();
  idle->add_flag("--json", command.json, "one line of JSON");
}

int not_run(const runtime::Error& error) {
  fmt::print(stderr, "corelane-load: {}\n", describe(error));
  return kNotRun;
}

template <class Options, class Result>
void print(const Command& command, const Options& options, const Result& result) {
  const std::string text =
      command.json ? perf::to_json(options, result) : perf::to_text(options, result);
  std::fputs(text.c_str(), stdout);
}

bool raise_descriptors(std::uint32_t connections) {
  const std::uint64_t wanted = connections + kDescriptorsBeside;
  const auto limit = runtime::raise_descriptor_limit(wanted);
  if (limit && *limit >= wanted) return true;
  fmt::print(stderr, "corelane-load: {} connections need more descriptors, try ulimit -n {}\n",
             connections, wanted);
  return false;
}

int run_echo(Command& command) {
  if (!raise_descriptors(command.echo.connections)) return kNotRun;
  const auto result = perf::run_echo(command.echo);
  if (!result) return not_run(result.error());
  print(command, command.echo, *result);
  return result->is_valid() ? 0 : kServerFaulty;
}

int run_idle(Command& command) {
  if (!raise_descriptors(command.idle.connections)) return kNotRun;
  const auto result = perf::run_idle(command.idle);
  if (!result) return not_run(result.error());
  print(command, command.idle, *result);
  return result->closed_early == 0 ? 0 : kServerFaulty;
}

}  // namespace

int main(int argc, char** argv) {
  Command command;
  CLI::App app{"Offers load to a server and reports what came back and what it cost."};
  app.require_subcommand(1);
  add_echo(app, command);
  add_idle(app, command);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  const auto target = perf::Target::parse(command.url);
  if (!target) {
    fmt::print(stderr, "corelane-load: --url {}: want ws://ADDR:PORT/PATH or tcp://ADDR:PORT\n",
               command.url);
    return kUsage;
  }
  command.echo.target = command.idle.target = *target;
  command.echo.duration = in_ns(command.seconds);
  command.echo.warmup = in_ns(command.warmup_seconds);
  command.idle.hold = in_ns(command.hold_seconds);
  return app.got_subcommand("echo") ? run_echo(command) : run_idle(command);
}
