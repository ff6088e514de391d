#pragma once
// Assertions of protocol/, which includes nothing of runtime/ (there: RT_ASSERT). PROTOCOL_ASSERT
// is always on: one compare, and on failure file, line and expression on stderr, then abort.
// PROTOCOL_DEBUG_ASSERT vanishes with NDEBUG: for what costs more, and for what is done for each
// frame. Neither may have side effects. Never assert what a peer sent: that is an error.

namespace corelane::protocol {

[[noreturn, gnu::cold, gnu::noinline]] void assertion_failed(const char* expression,
                                                             const char* file, int line) noexcept;

}  // namespace corelane::protocol

#define PROTOCOL_ASSERT(expression)                   \
  (__builtin_expect(static_cast<bool>(expression), 1) \
       ? static_cast<void>(0)                         \
       : ::corelane::protocol::assertion_failed(#expression, __FILE__, __LINE__))

#ifdef NDEBUG
#define PROTOCOL_DEBUG_ASSERT(expression) static_cast<void>(sizeof(static_cast<bool>(expression)))
#else
#define PROTOCOL_DEBUG_ASSERT(expression) PROTOCOL_ASSERT(expression)
#endif
