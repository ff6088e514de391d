#pragma once
// What can go wrong before a server serves, told as one line that names the limit and the fix: the
// process then ends with exit code 1, not with an uncaught exception. Called by main(), on its own
// thread.

#include <string>

#include "runtime/features.hpp"
#include "runtime/runtime.hpp"

namespace corelane::services {

// From the first moment of a server process: SIGTERM and SIGINT end it at once (exit code 128 + the
// signal; also where it is process 1 of a container, which the kernel's default would spare) until
// run_node() takes them; SIGHUP and SIGPIPE are ignored. Memory that cannot be had ends a
// process that starts with exit code 1, and aborts one that serves. Changes nothing that the
// program has set up itself. May be called again.
void guard_start() noexcept;
// A new handler, in the place of std::bad_alloc, which no code of a core could catch: one line with
// the limit and the fix, then the end as guard_start() says. Also for an allocator that calls no
// new handler, and before static initialisers have run.
[[noreturn]] void end_out_of_memory() noexcept;
// Call it when the server serves.
void start_is_over() noexcept;
// Nothing is served any more: takes back what guard_start() did for memory and exceptions.
void end_guard() noexcept;

// Whether a ring failed for a limit of this process, not for what the kernel can do.
bool is_limit(int error) noexcept;
// "cannot create the thread of ...: the limit of ... is N (how to raise it)". One line each.
std::string explain_no_thread(const runtime::Error& error, runtime::CoreId cores);
std::string explain_no_memory(const std::string& problem);
std::string explain_no_ring(const runtime::Error& error, const runtime::KernelPolicy& policy);

}  // namespace corelane::services
