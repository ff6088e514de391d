// Checks that involve several settings.

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>
#include <string>

#include "net/http/router.hpp"
#include "runtime/address.hpp"
#include "runtime/host.hpp"
#include "services/config/value.hpp"
#include "services/node/settings.hpp"

namespace corelane::services {
namespace {

using config::ConfigResult;
using config::Configuration;

class CrossCheck {
 public:
  CrossCheck(ConfigResult& result, ServedBy served_by)
      : result_(result), config_(result.config), served_by_(served_by) {}
  void run();

 private:
  std::string shown(std::string_view path) const { return result_.shown(config_.table().at(path)); }
  void at_most(std::string_view small, std::string_view large);
  void check_listeners();
  void check_paths();
  void check_buffers();
  void check_memory();
  void check_budget(std::uint64_t cores, std::uint64_t buffers);

  ConfigResult& result_;
  const Configuration& config_;
  ServedBy served_by_;
};

void CrossCheck::at_most(std::string_view small, std::string_view large) {
  if (config_.number(small) <= config_.number(large)) return;
  result_.errors.push_back({"configuration", shown(small), fmt::format("is above {}", shown(large)),
                            "", fmt::format("lower {} or raise {}", small, large)});
}

void CrossCheck::check_listeners() {
  // Each in one spelling: [::1]:80 is [0::1]:80.
  std::vector<std::string> all;
  const auto add = [&all](const std::vector<std::string>& texts) {
    for (const std::string& text : texts) {
      all.push_back(runtime::Address::parse(text).value().text());
    }
  };
  add(config_.list("server.listen"));
  const bool is_echo = served_by_ == ServedBy::echo;
  if (!is_echo) add(config_.list("server.tcp_listen"));
  if (all.empty()) {
    result_.errors.push_back({"configuration", shown("server.listen"),
                              is_echo ? "leaves echo nothing to listen on"
                                      : "leaves nothing to listen on, as server.tcp_listen is "
                                        "empty too",
                              "", "listen = [\"127.0.0.1:8080\"]"});
  }
  add(config_.list("server.admin_listen"));
  std::sort(all.begin(), all.end());
  for (std::size_t i = 1; i < all.size(); ++i) {
    // Port 0 is another port each time.
    const bool is_unix = all[i].starts_with("unix:");
    if (all[i] != all[i - 1] || (!is_unix && all[i].ends_with(":0"))) continue;
    result_.errors.push_back({"configuration", fmt::format("\"{}\"", all[i]),
                              "is listened on twice (server.listen, server.tcp_listen, "
                              "server.admin_listen)",
                              "", "name it once"});
  }
}

void CrossCheck::check_paths() {
  net::http::Router<int> router;
  for (const std::string& path : config_.list("websocket.paths")) {
    try {
      router.add("GET", path, 0);
    } catch (const std::invalid_argument&) {
      result_.errors.push_back({"configuration", fmt::format("\"{}\"", path),
                                "stands for the paths of another one in websocket.paths", "",
                                "name them once"});
    }
  }
}

void CrossCheck::check_buffers() {
  constexpr std::uint64_t kPoolBytesMax = std::uint64_t{1} << 30;
  const auto check = [&](std::string_view bytes_path, std::string_view count_path) {
    const std::uint64_t all = config_.number(bytes_path) * config_.number(count_path);
    if (all <= kPoolBytesMax) return;
    result_.errors.push_back(
        {"configuration", fmt::format("{} times {}", shown(bytes_path), shown(count_path)),
         fmt::format("is {} of buffers for each core", config::format_bytes(all)), "at most 1GiB",
         fmt::format("lower {} or {}", bytes_path, count_path)});
  };
  check("runtime.receive_buffer_bytes", "runtime.receive_buffers");
  check("runtime.medium_buffer_bytes", "runtime.medium_buffers");
  check("runtime.large_buffer_bytes", "runtime.large_buffers");
}

// Receive buffers alone must not bring a core near the end of its memory share. A share of the
// unfinished bytes must have room for some messages and for a body of the largest size.
void CrossCheck::check_memory() {
  std::uint64_t buffers = 0;
  for (const std::string size : {"receive", "medium", "large"}) {
    buffers += config_.number("runtime." + size + "_buffer_bytes") *
               config_.number("runtime." + size + "_buffers");
  }
  std::uint64_t cores = config_.number("server.cores");
  if (cores == 0) cores = cores_for(runtime::allowed_cpus());
  check_budget(cores, buffers);
  const std::uint64_t unfinished =
      least_unfinished(config_.number("limits.message_bytes_max"),
                       config_.number("limits.http_body_bytes_max"), cores);
  const bool is_set =
      result_.origin_of(config_.table().at("limits.unfinished_bytes_max")) != "default";
  if (is_set && config_.number("limits.unfinished_bytes_max") < unfinished) {
    result_.warnings.push_back(
        fmt::format("{} is taken as {}: each core's share has room for four messages and for one "
                    "body of the largest size",
                    shown("limits.unfinished_bytes_max"), config::format_bytes(unfinished)));
  }
}

void CrossCheck::check_budget(std::uint64_t cores, std::uint64_t buffers) {
  const std::uint64_t least = least_memory(buffers, cores);
  const std::uint64_t budget = config_.number("limits.memory_bytes_max");
  if (budget >= least) return;
  const std::string why =
      fmt::format("is too little for {} cores, whose receive buffers take {} each", cores,
                  config::format_bytes(buffers));
  const std::string fix =
      "raise limits.memory_bytes_max, or lower server.cores or runtime.medium_buffers";
  if (budget != 0) {
    result_.errors.push_back({"configuration", shown("limits.memory_bytes_max"), why,
                              fmt::format("at least {}", config::format_bytes(least)), fix});
  } else if (allowed_memory() / 2 < least) {
    result_.warnings.push_back(
        fmt::format("half of the memory {}: limits.memory_bytes_max is {}; lower server.cores or "
                    "runtime.medium_buffers",
                    why, config::format_bytes(least)));
  }
}

void CrossCheck::run() {
  check_listeners();
  check_paths();
  check_buffers();
  check_memory();
  // A second ping while the first is unanswered would hide which one the pong belongs to.
  if (config_.number("limits.ping_interval") != 0) {
    at_most("limits.pong_timeout", "limits.ping_interval");
  }
  at_most("limits.connections_per_ip_max", "limits.connections_max");
  // Each submission ends in at least one completion.
  at_most("runtime.ring_entries", "runtime.completion_entries");
  if (config_.number("limits.message_bytes_max") >
      config_.number("limits.outgoing_queue_bytes_max")) {
    result_.warnings.push_back(
        fmt::format("{} is above {}: a message of that size can be received, but not sent on",
                    shown("limits.message_bytes_max"), shown("limits.outgoing_queue_bytes_max")));
  }
}

}  // namespace

void check_settings(ConfigResult& result, ServedBy served_by, bool has_huge_pages) {
  CrossCheck(result, served_by).run();
  warn_of_ineffective_settings(result, served_by, has_huge_pages);
}

}  // namespace corelane::services
