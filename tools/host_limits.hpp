#pragma once
// What to say when this host lets a command have no more threads, descriptors or memory: the limit
// that was met, and how to raise it. Read when it was met; nothing here changes a limit.

#include <string>

namespace corelane::tools {

// For an errno that a limit is behind (EMFILE, ENFILE, EAGAIN of a new thread, ENOMEM), as the end
// of a sentence; empty for another one.
std::string explain_limit(int error);

// From now on, a process that gets no memory (`new`; with mimalloc also malloc) names the limit in
// one line and ends as services::end_out_of_memory() says: with exit code 1 unless it serves.
void end_when_out_of_memory() noexcept;

}  // namespace corelane::tools
