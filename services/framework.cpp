#include "services/framework.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <optional>
#include <string_view>

#include "runtime/address.hpp"
#include "runtime/host.hpp"
#include "services/node/node.hpp"
#include "services/node/process.hpp"
#include "ws/origin.hpp"

namespace framework {
namespace {

namespace runtime = corelane::runtime;
namespace services = corelane::services;
namespace ws = corelane::ws;

constexpr int kExitUsage = 2;

// Not fmt::print(), which throws where the disk is full.
void tell(const std::string& line) {
  std::fwrite(line.data(), 1, line.size(), stderr);
}

// False, and a line on stderr, if a text is no address.
bool parse_addresses(const std::vector<std::string>& texts, std::vector<runtime::Address>& to) {
  for (const std::string& text : texts) {
    if (const std::string problem = runtime::Address::problem_of(text); !problem.empty()) {
      tell(
          fmt::format("\"{}\" {}; addresses to listen on: 127.0.0.1:8080, [::1]:8080, unix:/path\n",
                      text, problem));
      return false;
    }
    to.push_back(*runtime::Address::parse(text));
  }
  return true;
}

// False, and a line on stderr, if an entry can never let an origin in.
bool check_origins(const std::vector<std::string>& entries) {
  for (const std::string& entry : entries) {
    const std::string problem = ws::read_origin_entry(entry).problem;
    if (problem.empty()) continue;
    fmt::print(stderr, "origin \"{}\" {}\n", entry, problem);
    return false;
  }
  return true;
}

std::optional<std::uint16_t> parse_cores(std::string_view text) {
  std::uint16_t cores = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), cores);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  if (cores > runtime::kCoresMax) return std::nullopt;
  return cores;
}

// Takes the flags into the options; the text of what is wrong, or empty.
std::string read_flags(int argc, const char* const* argv, options& settings) {
  std::vector<std::string> listen;
  for (int i = 1; i < argc; ++i) {
    const std::string_view flag = argv[i];
    if (flag != "--listen" && flag != "--cores") return fmt::format("{} is no flag", flag);
    if (++i == argc) return fmt::format("{} has no value", flag);
    if (flag == "--listen") {
      listen.emplace_back(argv[i]);
      continue;
    }
    const auto cores = parse_cores(argv[i]);
    if (!cores) return fmt::format("--cores {}: 0 to {}", argv[i], runtime::kCoresMax);
    settings.cores = *cores;
  }
  if (!listen.empty()) settings.listen = std::move(listen);
  return {};
}

}  // namespace

app::app(options settings) : options_(std::move(settings)) {}

int app::run(int argc, const char* const* argv) {
  const std::string problem = read_flags(argc, argv, options_);
  if (problem.empty()) return run();
  tell(fmt::format("{}; flags: --listen ADDR:PORT, --cores N\n", problem));
  return kExitUsage;
}

int app::run() {
  services::NodeOptions node;
  if (!parse_addresses(options_.listen, node.listen) ||
      !parse_addresses(options_.tcp_listen, node.tcp_listen)) {
    return kExitUsage;
  }
  if (node.listen.empty() && node.tcp_listen.empty()) {
    tell("there is no address to listen on\n");
    return kExitUsage;
  }
  node.websocket.reader.message_bytes_max = options_.message_bytes_max;
  if (!check_origins(options_.origins)) return kExitUsage;
  node.websocket.handshake.allow_origins(options_.origins);
  node.websocket.handshake.is_origin_strict = options_.origin_strict;
  node.dispatch.frame_bytes_max = options_.message_bytes_max;
  node.dispatch.handlers_running_max = options_.handlers_max;
  node.dispatch.handlers_per_session_max = options_.handlers_per_session_max;
  node.dispatch.handler_bytes_max =
      std::max(options_.handler_bytes_max, options_.message_bytes_max);
  node.pubsub.channels_max = options_.channels_max;
  // A reply as large as the largest request fits into an empty queue.
  node.network.queued_bytes_max =
      std::max(node.network.queued_bytes_max, options_.message_bytes_max) + 4096;
  node.handlers = &handlers_;
  node.http_routes = routes_;

  services::ProcessOptions process;
  const std::vector<int> cpus = runtime::allowed_cpus();
  process.runtime.cores = options_.cores != 0 ? options_.cores : services::cores_for(cpus);
  process.runtime.cpus = cpus;
  process.drain_deadline = options_.drain_deadline;
  return services::run_node(std::move(process), std::move(node));
}

}  // namespace framework
