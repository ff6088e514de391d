#pragma once
// What operations on files, pipes and names have in common. Internal.

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace corelane::runtime::detail {

// One operation's bytes: its size is 32 bits wide in the submission queue, and the kernel moves at
// most 2 GiB less a page at once (read(2)).
inline constexpr std::size_t kTransferMax = std::size_t{1} << 30;

// The offset for what has no positions (a pipe), and for where the last operation ended in a file.
inline constexpr std::uint64_t kFilePosition = UINT64_MAX;

// The system takes what is before a NUL, and would use another name than the one that was given.
inline bool has_nul(std::string_view text) noexcept {
  return text.find('\0') != text.npos;
}

}  // namespace corelane::runtime::detail
