#pragma once
// `corelane doctor`: can this host run Corelane, at full speed, and if not, what exactly to change.
// diagnose() is a pure function of what was found; run_doctor() finds it and prints. Nothing on the
// host is changed, but the descriptor limit of this process, as the server does when it starts.

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/cpu_level.hpp"
#include "runtime/features.hpp"
#include "runtime/host.hpp"

namespace corelane::tools {

enum class CheckStatus : std::uint8_t {
  ok,
  warn,  // works, but slower or with lower limits
  fail,  // the server cannot run
};

struct Check {
  std::string name;  // "io_uring_disabled"
  CheckStatus status{};
  std::string found;   // "kernel.io_uring_disabled = 2"
  std::string advice;  // the exact fix, or for an ok check a hint; may be empty
};

struct DoctorInputs {
  runtime::Features features;
  runtime::HostFacts host;
  runtime::CpuLevel cpu_level = runtime::CpuLevel::v1;  // what it has
  runtime::CpuLevel cpu_level_needed = runtime::CpuLevel::v1;
  std::uint64_t connections_wanted = 0;    // limits.connections_max
  std::uint64_t descriptors_possible = 0;  // RLIMIT_NOFILE that the process could raise itself to
  int allocator_version = 0;               // of mimalloc; 0 if it is not in this program
};

struct DoctorReport {
  std::vector<Check> checks;

  CheckStatus worst() const noexcept;
  // For scripts: 0 all is well at full speed, 1 works but slower or smaller, 2 cannot run.
  int exit_code() const noexcept;
};

// How high RLIMIT_NOFILE must be for the connections wanted.
std::uint64_t descriptors_wanted(const DoctorInputs& inputs);

DoctorReport diagnose(const DoctorInputs& inputs);

// One line a check, the advice below it, and a last line that sums up.
std::string format_report(const DoctorReport& report);
// {"status": "ok|warn|fail", "exit_code": 0, "checks": [{"name", "status", "found", "advice"}]}.
std::string format_report_json(const DoctorReport& report);

// Looks at this host, prints to stdout, returns the exit code.
int run_doctor(bool json);

}  // namespace corelane::tools
