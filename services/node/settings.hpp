#pragma once
// The settings of a server: the rows of the layers below the services (setting_rows.hpp), and the
// rows of every service, bound to one set of options. `corelane serve`, `corelane echo` and
// framework::app read their configuration with them.

#include <optional>
#include <string>
#include <vector>

#include "runtime/host.hpp"
#include "services/config/config.hpp"
#include "services/node/node.hpp"
#include "services/node/process.hpp"

namespace corelane::services {

// The options that the settings of a server set.
struct ServerOptions {
  ServerOptions() { process.runtime.cores = 0; }

  NodeOptions node{};
  ProcessOptions process{};  // cores 0: one for each CPU that the process may use
  bool pin = true;           // each core to one of them, where that is worth it
  bool pin_anyway = false;   // or wherever it is: the configuration says `pin`
  bool huge_pages = false;
};

enum class ServedBy : std::uint8_t {
  serve,
  echo,         // has no services
  application,  // has handlers of its own, and their settings
};

// Bound to `options`, which outlive it.
config::SettingTable settings_of(ServerOptions& options, ServedBy served_by);

// Checks settings against each other. `has_huge_pages`: the program's allocator can be asked for
// them.
void check_settings(config::ConfigResult& result, ServedBy served_by, bool has_huge_pages);
// Warns of settings that have no effect beside the others. A part of check_settings().
void warn_of_ineffective_settings(config::ConfigResult& result, ServedBy served_by,
                                  bool has_huge_pages);

// Fills in unset values from the host: the number of cores, whether they are pinned
// (runtime/pinning.hpp), the node's name, the memory budget (half of `memory_bytes`). Also sets
// options that depend on several settings.
void resolve(ServerOptions& options, const runtime::HostFacts& host, const std::string& host_name,
             std::uint64_t memory_bytes);

// Reads a program's configuration from its command line, the environment and files: fills in
// `options`, prints errors, warnings and requested output. Returns the exit code if the program
// should end.
std::optional<int> read_settings(ServerOptions& options, ServedBy served_by, bool has_huge_pages,
                                 config::Program program, const std::vector<std::string>& arguments,
                                 const config::Environment& environment);

// A core for each CPU, at most the runtime's limit of cores.
runtime::CoreId cores_for(const std::vector<int>& cpus) noexcept;

// The memory of the host, or the limit of the cgroup.
std::uint64_t allowed_memory();
// The least limits.memory_bytes_max with which receive buffers do not bring a core near the end of
// its share.
std::uint64_t least_memory(std::uint64_t buffer_bytes, std::uint64_t cores) noexcept;
// The least limits.unfinished_bytes_max: each core's share has room for four messages, or for one
// body, of the largest size.
std::uint64_t least_unfinished(std::uint64_t message_bytes_max, std::uint64_t body_bytes_max,
                               std::uint64_t cores) noexcept;

// Parses texts that have passed the row's check: asserts that each is an address.
std::vector<runtime::Address> parse_addresses(const std::vector<std::string>& texts);

}  // namespace corelane::services
