#pragma once
// Which sanitizer this translation unit is built with, and how to tell AddressSanitizer that memory
// which a pool keeps is not to be touched. Without it all of this vanishes.

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define RT_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RT_ASAN 1
#endif
#endif
#ifndef RT_ASAN
#define RT_ASAN 0
#endif

#if defined(__SANITIZE_THREAD__)
#define RT_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RT_TSAN 1
#endif
#endif
#ifndef RT_TSAN
#define RT_TSAN 0
#endif

#if RT_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace corelane::runtime {

// From here on every access to the range is reported, until unpoison_memory() of it.
inline void poison_memory([[maybe_unused]] const void* start,
                          [[maybe_unused]] std::size_t bytes) noexcept {
#if RT_ASAN
  __asan_poison_memory_region(start, bytes);
#endif
}

inline void unpoison_memory([[maybe_unused]] const void* start,
                            [[maybe_unused]] std::size_t bytes) noexcept {
#if RT_ASAN
  __asan_unpoison_memory_region(start, bytes);
#endif
}

}  // namespace corelane::runtime
