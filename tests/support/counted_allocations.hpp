#pragma once
// Counts the allocations of operator new, in a test program that has counted_allocations.cpp among
// its sources. The counts are not synchronised: for programs that allocate on one thread.

#include <cstddef>

namespace corelane::tests {

// Volatile: a compiler may assume that an allocation changes nothing that the program can see.
extern volatile std::size_t allocations;  // since the program's start
extern volatile std::size_t live_bytes;   // not freed, as malloc rounds them

}  // namespace corelane::tests
