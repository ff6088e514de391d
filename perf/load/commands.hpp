#pragma once
// The workloads as subcommands. Each file adds its own to the command line: options that it needs,
// checked, and what to run when it was chosen. Everything here outlives the parsing.

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "perf/load/load_driver.hpp"
#include "perf/load/settings.hpp"

namespace corelane::perf {

// Exit statuses.
inline constexpr int kServerFaulty = 1;
inline constexpr int kUsage = 2;
inline constexpr int kNotRun = 3;

struct Output {
  bool json = false;      // on stdout, instead of text
  std::string json_file;  // beside that; empty: none
  std::string csv_file;
};

// What was parsed, before it is made Settings.
struct CommandLine {
  std::string url;
  double seconds = 5;
  double warmup_seconds = 1;
  bool progress = false;
  Settings settings;
  Output output;
  std::function<int(CommandLine&)> run;  // of the chosen workload; its exit status
};

// Groups of options. `urls` shows the URLs that may be given.
void add_common(CLI::App& app, CommandLine& line, const std::string& urls);
void add_interval(CLI::App& app, CommandLine& line);
void add_connections(CLI::App& app, CommandLine& line);
void add_depth(CLI::App& app, CommandLine& line);
void add_size(CLI::App& app, CommandLine& line);
void add_rate(CLI::App& app, CommandLine& line);
void add_protocol(CLI::App& app, CommandLine& line, const std::vector<std::string>& names);

// Makes sure of the descriptors, runs it, prints what it found, and returns the exit status.
int run_and_report(CommandLine& line, std::uint32_t connections, const net::NetworkOptions& network,
                   const MakeLoad& make);
// Says on stderr why not; false.
bool raise_descriptors(std::uint32_t connections);
int not_run(const runtime::Error& error);
int wrong_usage(const std::string& why);

void add_echo(CLI::App& app, CommandLine& line);
void add_fanout(CLI::App& app, CommandLine& line);
void add_ping(CLI::App& app, CommandLine& line);
void add_mixed(CLI::App& app, CommandLine& line);
void add_send(CLI::App& app, CommandLine& line);
void add_http(CLI::App& app, CommandLine& line);
void add_resp(CLI::App& app, CommandLine& line);
void add_connect(CLI::App& app, CommandLine& line);
void add_idle(CLI::App& app, CommandLine& line);

}  // namespace corelane::perf
