#pragma once
// The addresses of a host name, for a coroutine: the system's resolver blocks, for as long as its
// configuration says, and cannot be stopped. So each question has a thread of its own, and the
// caller can go away: what the thread writes to lives until both are done with it.
//
// (net::resolve() asks on a thread that the end of the runtime waits for: a command would not end
// at its time limit.)
//
// A process with such a thread left must not return from main(), which would destroy what the
// thread still uses: see look_up_abandoned().

#include <string>

#include "net/resolve.hpp"
#include "runtime/result.hpp"
#include "runtime/task.hpp"

namespace corelane::tools {

// What is asked, and how, is net/resolve.hpp's.
using net::ask_name_service;
using net::NameAnswer;
using net::Resolver;

// Errors: cancelled; the errno of what could not be made for it (a thread, a descriptor).
runtime::Task<runtime::Result<NameAnswer>> look_up(std::string name, Resolver resolver);
// A look_up() was cancelled, and its thread may still run.
bool look_up_abandoned() noexcept;

}  // namespace corelane::tools
