#pragma once
// MemoryHolders: candidates for being closed when a core holds too much memory, of all layers
// together. Each layer lists its holders with their bytes; those that hold most and take least are
// ended. A local of MemoryAccount's relief function, on one core.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "runtime/types.hpp"

namespace corelane::net {

class MemoryHolders {
 public:
  // Ends the holder in this slot of its table, if it is still there. Frees what it holds now, or as
  // soon as operations that use it have completed. It must not list any.
  using End = void (*)(void* table, std::uint32_t slot) noexcept;

  // Less is not worth a connection.
  static constexpr std::size_t kBytesMin = 4096;

  // `idle`: since it last took, or sent, something.
  void add(std::size_t bytes, runtime::Nanoseconds idle, End end, void* table, std::uint32_t slot) {
    if (bytes < kBytesMin) return;
    holders_.push_back(
        {.weight = static_cast<double>(bytes) * static_cast<double>(idle + runtime::kMillisecond),
         .bytes = bytes,
         .end = end,
         .table = table,
         .slot = slot});
  }

  // Ends the holders with the largest product of bytes and idle time until those ended held `bytes`
  // together, or none is left. Returns how many.
  std::size_t end_worst(std::size_t bytes);

 private:
  struct Holder {
    double weight;
    std::size_t bytes;
    End end;
    void* table;
    std::uint32_t slot;
  };
  std::vector<Holder> holders_;
};

}  // namespace corelane::net
