#include "runtime/symbols.hpp"

#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace corelane::runtime {
namespace {

// Of a name that is shown: templates can take kilobytes.
constexpr std::size_t kNameBytesMax = 300;

std::uintptr_t number_of(const void* address) noexcept {
  return reinterpret_cast<std::uintptr_t>(address);
}

std::string demangled(const char* name) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> text(
      abi::__cxa_demangle(name, nullptr, nullptr, &status), std::free);
  std::string whole = status == 0 && text != nullptr ? text.get() : name;
  if (whole.size() > kNameBytesMax) whole.replace(kNameBytesMax, std::string::npos, "...");
  return whole;
}

// The functions in the symbol table of the program's file. Nothing where it is stripped, or is not
// as an ELF file of this machine should be: every offset is checked.
class ProgramSymbols {
 public:
  ProgramSymbols() {
    ::dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void* self) {
          // The first one is the program.
          static_cast<ProgramSymbols*>(self)->note_program(*info);
          return 1;
        },
        this);
    const int file = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    struct stat status{};
    if (::fstat(file, &status) == 0 && status.st_size > 0) {
      const auto bytes = static_cast<std::size_t>(status.st_size);
      void* const mapped = ::mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, file, 0);
      if (mapped != MAP_FAILED) {
        read({static_cast<const std::byte*>(mapped), bytes});
        ::munmap(mapped, bytes);
      }
    }
    ::close(file);
  }

  bool is_in_program(std::uintptr_t address) const noexcept {
    return address >= begin_ && address < end_;
  }

  struct Found {
    const char* name;
    std::uintptr_t begin;
  };
  std::optional<Found> find(std::uintptr_t address) const noexcept {
    const std::uintptr_t value = address - base_;
    const auto next = std::ranges::upper_bound(functions_, value, {}, &Function::value);
    if (next == functions_.begin()) return std::nullopt;
    const Function& function = *std::prev(next);
    if (value - function.value >= function.bytes) return std::nullopt;
    return Found{.name = names_.data() + function.name, .begin = base_ + function.value};
  }

 private:
  struct Function {
    std::uintptr_t value;
    std::uintptr_t bytes;
    std::size_t name;  // where it begins in names_
  };

  void note_program(const dl_phdr_info& info) noexcept {
    base_ = info.dlpi_addr;
    for (const auto& header : std::span(info.dlpi_phdr, info.dlpi_phnum)) {
      if (header.p_type != PT_LOAD) continue;
      const std::uintptr_t begin = base_ + header.p_vaddr;
      begin_ = std::min(begin_, begin);
      end_ = std::max(end_, begin + header.p_memsz);
    }
  }

  // `count` records of the file, copied; none if they are not all in it.
  template <class T>
  static std::vector<T> records(std::span<const std::byte> file, std::uint64_t offset,
                                std::uint64_t count) {
    if (offset > file.size() || count > (file.size() - offset) / sizeof(T)) return {};
    std::vector<T> all(count);
    if (count != 0) std::memcpy(all.data(), file.data() + offset, count * sizeof(T));
    return all;
  }

  void read(std::span<const std::byte> file) {
    const auto heads = records<ElfW(Ehdr)>(file, 0, 1);
    if (heads.empty() || std::memcmp(heads[0].e_ident, ELFMAG, SELFMAG) != 0) return;
    if (heads[0].e_shentsize != sizeof(ElfW(Shdr))) return;
    const auto sections = records<ElfW(Shdr)>(file, heads[0].e_shoff, heads[0].e_shnum);
    for (const auto& section : sections) {
      if (section.sh_type != SHT_SYMTAB || section.sh_link >= sections.size()) continue;
      if (section.sh_entsize != sizeof(ElfW(Sym))) continue;
      const auto& strings = sections[section.sh_link];
      names_ = records<char>(file, strings.sh_offset, strings.sh_size);
      names_.push_back('\0');
      add(records<ElfW(Sym)>(file, section.sh_offset, section.sh_size / sizeof(ElfW(Sym))));
    }
    std::ranges::sort(functions_, {}, &Function::value);
  }
  void add(const std::vector<ElfW(Sym)>& symbols) {
    for (const auto& symbol : symbols) {
      if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC || symbol.st_size == 0) continue;
      if (symbol.st_name >= names_.size()) continue;
      functions_.push_back(
          {.value = symbol.st_value, .bytes = symbol.st_size, .name = symbol.st_name});
    }
  }

  std::uintptr_t base_ = 0;
  std::uintptr_t begin_ = UINTPTR_MAX;
  std::uintptr_t end_ = 0;
  std::vector<Function> functions_;
  std::vector<char> names_;
};

const ProgramSymbols& program_symbols() {
  static const ProgramSymbols kSymbols;
  return kSymbols;
}

// `within`: an address in the function; `shown`: the one to print.
std::string describe(std::uintptr_t within, std::uintptr_t shown) {
  const auto place = [&](const std::string& name, std::uintptr_t begin) {
    return fmt::format("{} + {:#x} ({:#x})", name, shown - begin, shown);
  };
  const ProgramSymbols& program = program_symbols();
  if (program.is_in_program(within)) {
    if (const auto found = program.find(within)) return place(demangled(found->name), found->begin);
  }
  Dl_info info{};
  // NOLINTNEXTLINE(performance-no-int-to-ptr): dladdr takes a pointer
  if (::dladdr(reinterpret_cast<const void*>(within), &info) == 0) {
    return fmt::format("{:#x}", shown);
  }
  if (info.dli_sname != nullptr) return place(demangled(info.dli_sname), number_of(info.dli_saddr));
  return place(info.dli_fname, number_of(info.dli_fbase));
}

}  // namespace

std::string describe_address(const void* address) {
  return describe(number_of(address), number_of(address));
}

std::string describe_return_address(const void* address) {
  return describe(number_of(address) - 1, number_of(address));
}

}  // namespace corelane::runtime
