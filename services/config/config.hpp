#pragma once
// The configuration of a program: what can be set (a SettingTable), and what a TOML file, variables
// and flags say. A value given as a flag wins over the environment, that over the file, that over
// what the program itself asks for, that over the default. Everything is checked before anything
// starts, and all errors are reported at once: each names the place, the key, the value, what is
// allowed and a fix.
//
// Plain values, owned by the caller. Arguments, environment and files come in as arguments; only
// process_environment() and read_whole_file() touch the process.

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/result.hpp"
#include "services/config/table.hpp"

namespace corelane::services::config {

struct ConfigError {
  std::string where;    // "corelane.toml:12", "environment", "command line", "configuration"
  std::string setting;  // as written there: message_bytes_max = "1MB"
  std::string problem;
  std::string allowed;  // may be empty
  std::string fix;      // may be empty

  // One line: "where: setting: problem; allowed: ...; fix: ...".
  std::string text() const;
};

// If several actions are requested, the last one of this list is done.
enum class ConfigAction : std::uint8_t { run, print_config, check_config, help };

struct ConfigResult {
  explicit ConfigResult(const SettingTable& table)
      : config(table), origins(table.settings().size(), "default") {}

  Configuration config;
  std::vector<std::string> origins;   // of each setting, in the order of the table: "default", ...
  std::vector<ConfigError> errors;    // not empty: config must not be used
  std::vector<std::string> warnings;  // for the log; the server starts
  ConfigAction action = ConfigAction::run;
  std::string help;  // the text for --help

  bool ok() const noexcept { return errors.empty(); }
  const std::string& origin_of(const Setting& setting) const noexcept {
    return origins[config.table().index_of(setting)];
  }
  // "limits.pong_timeout = "30s" (flag --pong-timeout)"
  std::string shown(const Setting& setting) const;
};

// A value set by the program itself; it wins over all sources.
struct Preset {
  std::string path;  // of a setting of the table
  Value value;
};

struct Program {
  std::string command;  // what the user typed before the arguments ("corelane serve"), for --help
  std::vector<Preset> presets = {};
  std::string presets_from = {};  // where, for errors: "framework::options"
  // Checks settings against each other, when each alone is in order: adds errors and warnings.
  std::function<void(ConfigResult& result)> check = {};
};

// Names and values, those that begin with CORELANE_ or all.
using Environment = std::vector<std::pair<std::string, std::string>>;
// The whole text of a file. Error: the errno of opening or reading it.
using FileReader = std::function<runtime::Result<std::string>(const std::string& path)>;

// The file is the one of --config, else of CORELANE_CONFIG, else none. The table outlives the
// result.
ConfigResult load_config(const SettingTable& table, const Program& program,
                         const std::vector<std::string>& arguments, const Environment& environment,
                         const FileReader& read_file);

// A configuration of every setting with long lists takes some KiB; a device or a log that is named
// by mistake is refused at once.
inline constexpr std::size_t kConfigFileBytesMax = 1024 * 1024;
// For a pipe (`--config <(command)`, a FIFO) to bring all of it.
inline constexpr int kConfigFileSecondsMax = 5;

// The process' own environment and files. A file above the limit is EFBIG.
Environment process_environment();
runtime::Result<std::string> read_whole_file(const std::string& path);

// The configuration as TOML, with a comment at each value that says where it came from. Reading it
// back gives the same configuration.
std::string print_config(const ConfigResult& result);

}  // namespace corelane::services::config
