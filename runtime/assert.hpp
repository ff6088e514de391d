#pragma once
// Assertions. RT_ASSERT is always on, also in release: one compare, and on failure file, line and
// expression on stderr, then abort. RT_DEBUG_ASSERT is for what costs more and vanishes with
// NDEBUG. Neither may have side effects. Never assert what a peer sent or what the kernel may
// legally return: those are errors (runtime/result.hpp).

namespace corelane::runtime {

// Prints "file:line: assertion failed: expression (core N)", without the last on a thread that is
// no core, and aborts. Safe in any context; waits at most a second for the reader of stderr.
[[noreturn, gnu::cold, gnu::noinline]] void assertion_failed(const char* expression,
                                                             const char* file, int line) noexcept;

}  // namespace corelane::runtime

#define RT_ASSERT(expression)                         \
  (__builtin_expect(static_cast<bool>(expression), 1) \
       ? static_cast<void>(0)                         \
       : ::corelane::runtime::assertion_failed(#expression, __FILE__, __LINE__))

#ifdef NDEBUG
#define RT_DEBUG_ASSERT(expression) static_cast<void>(sizeof(static_cast<bool>(expression)))
#else
#define RT_DEBUG_ASSERT(expression) RT_ASSERT(expression)
#endif
