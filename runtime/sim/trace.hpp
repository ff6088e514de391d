#pragma once
// Trace: everything that happens in a world, folded into one running 64-bit hash, so that two runs
// can be compared by one number; and, if wanted, as text, so that their first difference can be
// found with diff. Only what is the same in every process goes in: no pointers, no real time.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>

#include "runtime/types.hpp"

namespace corelane::runtime::sim {

enum class TraceKind : std::uint8_t {
  turn,         // a core's turn begins: core
  completion,   // a core takes a completion: core, token, result and flags
  lane_batch,   // a core looks at a lane: to, from, most
  bytes_sent,   // a stream takes bytes: stream, count, their hash
  bytes_taken,  // bytes of a stream are handed to the program: stream, count, their hash
  wake,         // one core wakes another: from, to
  operation,    // a ring hands an operation over: core, kind, token
  fault,        // an injected fault: its number, what it hit
  user,         // World::note()
};

class Trace {
 public:
  Trace() = default;
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;
  ~Trace();

  void note(TraceKind kind, Nanoseconds now, std::uint64_t first, std::uint64_t second,
            std::uint64_t third) noexcept;
  static std::uint64_t hash_of(std::span<const std::byte> bytes) noexcept;
  std::uint64_t hash() const noexcept { return hash_; }
  std::uint64_t notes() const noexcept { return notes_; }

  // Text goes to `into` too from now on, a line a note; it must outlive the trace.
  void write_to(std::string* into) noexcept { text_ = into; }
  // The same into a file, which is truncated. False: it cannot be opened.
  bool write_to_file(const char* path) noexcept;
  // Call it before an abort, so that the last lines are on disk.
  void flush() noexcept;

 private:
  void write_line(TraceKind kind, Nanoseconds now, std::uint64_t first, std::uint64_t second,
                  std::uint64_t third) noexcept;

  std::uint64_t hash_ = 0x243f'6a88'85a3'08d3;
  std::uint64_t notes_ = 0;
  std::string* text_ = nullptr;
  std::FILE* file_ = nullptr;
};

}  // namespace corelane::runtime::sim
