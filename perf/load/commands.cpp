#include "perf/load/commands.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>

#include "perf/load/report.hpp"
#include "runtime/host.hpp"

namespace corelane::perf {
namespace {

constexpr std::uint32_t kDescriptorsBeside = 64;  // ring, files, standard streams
// Most on their way a connection in an open loop that names no depth, and bytes of these.
constexpr std::uint32_t kOpenDepthMax = 1024;
constexpr std::uint32_t kOpenBytesMax = 1U << 20;

runtime::Nanoseconds in_ns(double seconds) noexcept {
  return static_cast<runtime::Nanoseconds>(seconds * 1e9);
}

// Completes the settings that depend on several options. False: the cause has been printed.
bool complete(CommandLine& line, const std::string& urls) {
  Settings& settings = line.settings;
  const auto target = Target::parse(line.url);
  const std::string scheme = line.url.substr(0, line.url.find("://") + 3);
  if (!target || urls.find(scheme) == std::string::npos) {
    wrong_usage(fmt::format("--url {}: want {}, the address in numbers", line.url, urls));
    return false;
  }
  settings.target = *target;
  settings.duration = in_ns(line.seconds);
  settings.warmup = in_ns(line.warmup_seconds);
  settings.shows_progress = line.progress || ::isatty(STDERR_FILENO) == 1;
  if (settings.depth == 0) {
    settings.depth =
        settings.is_open_loop()
            ? std::clamp(kOpenBytesMax / std::max(settings.payload_bytes, 1U), 16U, kOpenDepthMax)
            : 1;
  }
  if (settings.counts_system_calls && settings.server_pid == 0) {
    wrong_usage("--system-calls needs --server-pid");
    return false;
  }
  return true;
}

bool write_file(const std::string& path, const std::string& text) {
  if (path.empty()) return true;
  std::ofstream file(path, std::ios::trunc);
  file << text;
  file.close();
  if (file) return true;
  fmt::print(stderr, "corelane-load: cannot write {}\n", path);
  return false;
}

}  // namespace

void add_common(CLI::App& app, CommandLine& line, const std::string& urls) {
  Settings& settings = line.settings;
  app.add_option("--url", line.url, urls)->required();
  app.add_option("--cpu", settings.cpu, "pin the client to this CPU");
  app.add_option("--server-pid", settings.server_pid, "measure this process too");
  app.add_option("--ramp", settings.ramp_per_second, "open at most this many connections a second")
      ->check(CLI::PositiveNumber);
  app.add_option("--source-addresses", settings.source_addresses,
                 "bind to 127.0.0.1 and the following addresses in turn")
      ->check(CLI::Range(1U, 250U));
  app.add_option("--name", settings.name, "a label for the report");
  app.add_flag("--json", line.output.json, "one line of JSON");
  app.parse_complete_callback([&line, urls] {
    if (!complete(line, urls)) throw CLI::RuntimeError(kUsage);
  });
}

void add_interval(CLI::App& app, CommandLine& line) {
  app.add_option("--seconds", line.seconds, "measured")
      ->check(CLI::Range(0.01, 86'400.0))
      ->capture_default_str();
  app.add_option("--warmup", line.warmup_seconds, "seconds before that")
      ->check(CLI::Range(0.0, 3'600.0))
      ->capture_default_str();
  app.add_flag("--system-calls", line.settings.counts_system_calls, "count those of the server");
  app.add_flag("--progress", line.progress, "a line a second on stderr, without a terminal too");
  app.add_option("--output", line.output.json_file, "write the JSON to this file too");
  app.add_option("--csv", line.output.csv_file, "write a row for each second to this file");
}

void add_connections(CLI::App& app, CommandLine& line) {
  app.add_option("--connections", line.settings.connections)
      ->check(CLI::Range(1U, 1'000'000U))
      ->capture_default_str();
}

void add_depth(CLI::App& app, CommandLine& line) {
  line.settings.depth = 0;
  app.add_option("--depth", line.settings.depth,
                 "messages on their way, a connection; unless given 1, or many with --rate")
      ->check(CLI::Range(1U, 65'536U));
}

void add_size(CLI::App& app, CommandLine& line) {
  app.add_option("--size", line.settings.payload_bytes, "bytes of payload")
      ->check(CLI::Range(1U, 16U << 20))
      ->capture_default_str();
}

void add_rate(CLI::App& app, CommandLine& line) {
  app.add_option("--rate", line.settings.rate,
                 "open loop: messages a second in all, each timed from when it was due")
      ->check(CLI::PositiveNumber);
}

void add_protocol(CLI::App& app, CommandLine& line, const std::vector<std::string>& names) {
  app.add_option_function<std::string>(
         "--protocol",
         [&line](const std::string& name) {
           for (const Protocol one :
                {Protocol::raw, Protocol::opcode, Protocol::nats, Protocol::resp}) {
             if (name == name_of(one)) line.settings.protocol = one;
           }
         },
         "what is spoken")
      ->check(CLI::IsMember(names))
      ->default_str("raw");
}

int run_and_report(CommandLine& line, std::uint32_t connections, const net::NetworkOptions& network,
                   const MakeLoad& make) {
  if (!raise_descriptors(connections)) return kNotRun;
  const auto report = run_load(line.settings, network, make);
  if (!report && line.settings.compressed && report.error().code == runtime::ErrorCode::closed) {
    fmt::print(stderr, "corelane-load: the server offers no permessage-deflate, or is none\n");
    return kNotRun;
  }
  if (!report) return not_run(report.error());
  const std::string json = to_json(line.settings, *report);
  std::fputs((line.output.json ? json : to_text(line.settings, *report)).c_str(), stdout);
  if (!write_file(line.output.json_file, json) ||
      !write_file(line.output.csv_file, to_csv(*report))) {
    return kNotRun;
  }
  if (report->faults.none()) return 0;
  fmt::print(stderr, "corelane-load: FAULTY SERVER: {}\n", report->faults.first);
  return kServerFaulty;
}

bool raise_descriptors(std::uint32_t connections) {
  const std::uint64_t wanted = std::uint64_t{connections} + kDescriptorsBeside;
  const auto limit = runtime::raise_descriptor_limit(wanted);
  if (limit && *limit >= wanted) return true;
  fmt::print(stderr, "corelane-load: {} connections need more descriptors, try ulimit -n {}\n",
             connections, wanted);
  return false;
}

int not_run(const runtime::Error& error) {
  fmt::print(stderr, "corelane-load: {}\n", describe(error));
  return kNotRun;
}

int wrong_usage(const std::string& why) {
  fmt::print(stderr, "corelane-load: {}\n", why);
  return kUsage;
}

}  // namespace corelane::perf
