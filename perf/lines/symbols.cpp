#include "perf/lines/symbols.hpp"

#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string_view>
#include <vector>

namespace corelane::perf::lines {
namespace {

struct Symbol {
  std::uintptr_t start;
  std::uintptr_t bytes;
  std::string name;
  bool is_function;
};

std::string demangled(const char* name) {
  int status = 0;
  char* const text = abi::__cxa_demangle(name, nullptr, nullptr, &status);
  if (text == nullptr) return name;
  std::string result = text;
  std::free(static_cast<void*>(text));
  return result;
}

template <class T>
std::vector<T> read_table(std::string_view file, std::uint64_t offset, std::uint64_t bytes) {
  if (offset > file.size() || bytes > file.size() - offset) return {};
  std::vector<T> table(bytes / sizeof(T));
  std::memcpy(static_cast<void*>(table.data()), file.data() + offset, table.size() * sizeof(T));
  return table;
}

// Where the program was loaded, to be added to the addresses of its symbols.
std::uintptr_t load_address(const Elf64_Ehdr& head) {
  if (head.e_type != ET_DYN) return 0;
  Dl_info info{};
  if (::dladdr(reinterpret_cast<const void*>(&symbol_at), &info) == 0) return 0;
  return reinterpret_cast<std::uintptr_t>(info.dli_fbase);
}

std::vector<Symbol> read_symbols() {
  std::ifstream stream("/proc/self/exe", std::ios::binary);
  const std::string file{std::istreambuf_iterator<char>(stream), {}};
  std::vector<Symbol> symbols;
  const auto heads = read_table<Elf64_Ehdr>(file, 0, sizeof(Elf64_Ehdr));
  if (heads.empty()) return symbols;
  const std::uintptr_t base = load_address(heads[0]);
  const auto sections =
      read_table<Elf64_Shdr>(file, heads[0].e_shoff, heads[0].e_shnum * sizeof(Elf64_Shdr));
  for (const Elf64_Shdr& section : sections) {
    if (section.sh_type != SHT_SYMTAB || section.sh_link >= sections.size()) continue;
    const std::uint64_t names = sections[section.sh_link].sh_offset;
    for (const auto& entry : read_table<Elf64_Sym>(file, section.sh_offset, section.sh_size)) {
      const unsigned type = ELF64_ST_TYPE(entry.st_info);
      if ((type != STT_FUNC && type != STT_OBJECT) || entry.st_size == 0) continue;
      if (names + entry.st_name >= file.size()) continue;
      symbols.push_back({.start = base + entry.st_value,
                         .bytes = entry.st_size,
                         .name = file.c_str() + names + entry.st_name,
                         .is_function = type == STT_FUNC});
    }
  }
  std::sort(symbols.begin(), symbols.end(),
            [](const Symbol& one, const Symbol& other) { return one.start < other.start; });
  return symbols;
}

const Symbol* find(std::uintptr_t address) {
  static const std::vector<Symbol> symbols = read_symbols();
  auto after =
      std::upper_bound(symbols.begin(), symbols.end(), address,
                       [](std::uintptr_t at, const Symbol& symbol) { return at < symbol.start; });
  if (after == symbols.begin()) return nullptr;
  const Symbol& symbol = *--after;
  return address - symbol.start < symbol.bytes ? &symbol : nullptr;
}

}  // namespace

std::string symbol_at(std::uintptr_t address) {
  const Symbol* const symbol = find(address);
  if (symbol != nullptr) return demangled(symbol->name.c_str());
  Dl_info info{};
  if (::dladdr(std::bit_cast<const void*>(address), &info) != 0 && info.dli_sname != nullptr) {
    return demangled(info.dli_sname);
  }
  return fmt::format("{:#x}", address);
}

std::string variable_at(std::uintptr_t address) {
  const Symbol* const symbol = find(address);
  return symbol != nullptr && !symbol->is_function ? demangled(symbol->name.c_str())
                                                   : std::string{};
}

}  // namespace corelane::perf::lines
