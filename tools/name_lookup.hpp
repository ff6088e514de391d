#pragma once
// The addresses of a host name, for a coroutine: the system's resolver blocks, for as long as its
// configuration says, and cannot be stopped. So each question has a thread of its own, and the
// caller can go away: what the thread writes to lives until both are done with it.
//
// A process with such a thread left must not return from main(), which would destroy what the
// thread still uses: see look_up_abandoned().

#include <functional>
#include <string>
#include <vector>

#include "runtime/address.hpp"
#include "runtime/result.hpp"
#include "runtime/task.hpp"

namespace corelane::tools {

struct NameAnswer {
  std::vector<runtime::Address> addresses;  // port 0
  int error = 0;                            // of getaddrinfo(3), EAI_...
  int system_error = 0;                     // the errno behind EAI_SYSTEM
};

// Called on a thread of its own.
using Resolver = std::function<NameAnswer(const std::string& name)>;
// getaddrinfo(3): /etc/hosts, DNS and whatever else nsswitch.conf(5) names.
NameAnswer ask_name_service(const std::string& name);

// Errors: cancelled; the errno of what could not be made for it (a thread, a descriptor).
runtime::Task<runtime::Result<NameAnswer>> look_up(std::string name, Resolver resolver);
// A look_up() was cancelled, and its thread may still run.
bool look_up_abandoned() noexcept;

// Why an answer has no addresses, as the end of a sentence.
std::string describe(const NameAnswer& answer);

}  // namespace corelane::tools
