#pragma once
// What to say when this host lets a command have no more threads, descriptors or memory: the limit
// that was met, and how to raise it. Read when it was met; nothing here changes a limit.

#include <string>

namespace corelane::tools {

// For an errno that a limit is behind (EMFILE, ENFILE, EAGAIN of a new thread, ENOMEM), as the end
// of a sentence; empty for another one.
std::string explain_limit(int error);

// From now on, a process that gets no memory says so in one line and ends with kExitServerError.
// (`new` of mimalloc, which is compiled as C, would abort without a word: it cannot throw.)
void end_when_out_of_memory() noexcept;

}  // namespace corelane::tools
