#pragma once
// The names of functions, for backtraces. Exported functions of libraries are known to the dynamic
// linker; for those of the program its own symbol table is read from its file, once (a program of
// 10 MB: some ms and 1 MB). Not for signal handlers, nor for a core: it allocates, and reads a
// file.

#include <string>

namespace corelane::runtime {

// "corelane::net::Stream::flush() + 0x12 (0x55d0c0ffee12)": the function that holds the address, or
// the file and the offset in it, or the address alone. On any thread.
std::string describe_address(const void* address);

// The same for an address that a call returns to, which may be behind the end of the function that
// calls (one that never returns is the last thing in it).
std::string describe_return_address(const void* address);

}  // namespace corelane::runtime
