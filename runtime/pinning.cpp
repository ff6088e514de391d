#include "runtime/pinning.hpp"

namespace corelane::runtime {

PinAdvice advise_pinning(const HostFacts& host, CoreId cores) noexcept {
  const std::size_t allowed = host.cpus_allowed.size();
  if (cores > allowed) return {false, "there are more cores than CPUs"};
  if (cores < allowed)
    return {false, "there are more CPUs than cores: a core can avoid a busy one"};
  if (host.cpu_quota > 0 && host.cpu_quota < cores) {
    return {false, "a quota takes time from the CPUs"};
  }
  if (host.cpu_stolen >= kStolenMax) {
    return {false, "other virtual machines take time from the CPUs (steal in /proc/stat)"};
  }
  if (host.cpu_pressure >= kPressureMax) {
    return {false, "other programs use the CPUs (/proc/pressure/cpu)"};
  }
  if (host.cpus_isolated.size() == allowed) return {true, "the CPUs are isolated"};
  if (allowed < static_cast<std::size_t>(host.cpus_online)) {
    return {true, "the CPUs are set apart for this process, one for each core"};
  }
  if (host.numa.size() > 1) return {true, "cores would move between NUMA nodes"};
  return {false, "the CPUs are those of all programs of this host"};
}

std::vector<int> cpus_worth_pinning(CoreId cores) {
  HostFacts host = read_host_facts();
  if (!advise_pinning(host, cores).is_worth_it) return {};
  return std::move(host.cpus_allowed);
}

}  // namespace corelane::runtime
