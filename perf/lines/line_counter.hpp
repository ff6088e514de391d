#pragma once
// Counts what threads share: the 64-byte lines that one of them writes and another one touches, the
// instructions that lock a line, mutexes, and memory that is freed by another thread than asked for
// it. It takes the place of ThreadSanitizer's runtime: code that was compiled with
// -fsanitize=thread reports each of its accesses here (callbacks.cpp), so a count is exact and does
// not depend on which thread was faster. Code that was not compiled so is not seen, nor are vectors
// of 32 and 64 bytes.
//
// One a process. While it does not count, an access costs a call and a load.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace corelane::perf::lines {

inline constexpr std::size_t kLineBytes = 64;
// Threads have numbers: count_this_thread() sets 0 to kOthers - 1, and all other threads share
// kOthers.
inline constexpr unsigned kThreads = 8;
inline constexpr unsigned kOthers = kThreads - 1;

// From here on the calling thread is counted under this number, below kOthers.
void count_this_thread(unsigned number) noexcept;
// From here on the calling thread is not counted: for a client, which is not measured.
void leave_this_thread_out() noexcept;

// Forgets everything and counts until stop(), from and on any thread, one at a time. Steady state
// is the caller's affair: what a line was used for before start() does not count.
void start() noexcept;
void stop() noexcept;

enum class Event : std::uint8_t {
  read,
  write,
  lock,          // an instruction that locks a line: a read-modify-write, or a store that is one on
                 // x86 (seq_cst); it is counted as a write, too
  mutex,         // a mutex, read-write lock or spin lock of pthread taken
  allocate,      // operator new
  free_foreign,  // operator delete of what another thread asked for
};

// What one function did, as one thread.
struct Site {
  std::string function;
  Event event;
  unsigned thread;
  std::uint64_t count;
};
// Sites of the same function, event and thread added up; the most frequent first.
std::vector<Site> merged(std::vector<Site> sites);

// A line that one thread wrote and another one touched.
struct SharedLine {
  std::uintptr_t address;
  std::string memory;    // the allocations or variables on it
  std::uint64_t moves;   // how often it would have gone from cache to cache: a thread needed what
                         // another one had written, or wrote what another one held
  unsigned threads = 0;  // bit i: thread i touched it
  unsigned writers = 0;
  std::vector<Site> sites;  // read and write
};

struct Report {
  std::array<std::uint64_t, kThreads> accesses{};
  double seconds = 0;       // from start() to stop()
  std::uint64_t lines = 0;  // that were touched
  // Accesses and events for which there was no room, for shared lines also functions: must be 0.
  std::uint64_t lost = 0;
  std::vector<SharedLine> shared;
  std::vector<Site> events;  // all but read and write

  std::uint64_t count(Event event) const noexcept;
  // Lines that all of `threads` (bits) touched and one of them wrote, and their moves.
  std::vector<const SharedLine*> shared_by(unsigned threads) const;
};

// After stop().
Report report();
// For people: shared lines and events with their functions, counts divided by `per`.
std::string describe(const Report& report, double per, const char* unit);
std::string describe(const SharedLine& line);

// --- For callbacks.cpp and interposed.cpp
void record(const void* at, std::size_t bytes, Event event, const void* site) noexcept;
void note(Event event, const void* site) noexcept;
// An allocation that exists from now on, and its end. Always, not only while counting.
void allocated(const void* at, std::size_t bytes, const void* site) noexcept;
void freed(const void* at, const void* site) noexcept;

}  // namespace corelane::perf::lines
