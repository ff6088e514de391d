#pragma once
// Names of functions and variables of this program, also of those that are not exported, from its
// symbol table.

#include <cstdint>
#include <string>

namespace corelane::perf::lines {

// What the address is inside of, demangled; its number if the program has no symbol there.
std::string symbol_at(std::uintptr_t address);
// Empty if there is none.
std::string variable_at(std::uintptr_t address);

}  // namespace corelane::perf::lines
