// The functions that clang's -fsanitize=thread calls for each access to memory, under the names and
// with the meanings of ThreadSanitizer's runtime (compiler-rt, tsan_interface.h and
// tsan_interface_atomic.h of LLVM 19). An atomic operation is done here, and at least as strictly
// as was asked for. The caller's return address tells which function it was.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "perf/lines/line_counter.hpp"

namespace corelane {
namespace {

using perf::lines::Event;
using perf::lines::record;

// On x86 a sequentially consistent store is an exchange; every other one is a plain store.
void record_store(const volatile void* at, std::size_t bytes, int order,
                  const void* site) noexcept {
  const void* const plain = const_cast<const void*>(at);
  record(plain, bytes, order == __ATOMIC_SEQ_CST ? Event::lock : Event::write, site);
}

void record_update(const volatile void* at, std::size_t bytes, const void* site) noexcept {
  record(const_cast<const void*>(at), bytes, Event::lock, site);
}

}  // namespace

#define LINES_SITE __builtin_return_address(0)

#define LINES_ACCESS(bytes)                      \
  void __tsan_read##bytes(void* at) {            \
    record(at, bytes, Event::read, LINES_SITE);  \
  }                                              \
  void __tsan_write##bytes(void* at) {           \
    record(at, bytes, Event::write, LINES_SITE); \
  }                                              \
  void __tsan_unaligned_read##bytes(void* at) {  \
    record(at, bytes, Event::read, LINES_SITE);  \
  }                                              \
  void __tsan_unaligned_write##bytes(void* at) { \
    record(at, bytes, Event::write, LINES_SITE); \
  }

#define LINES_UPDATE(bits, name, builtin)                                            \
  std::uint##bits##_t __tsan_atomic##bits##_##name(volatile std::uint##bits##_t* at, \
                                                   std::uint##bits##_t value, int) { \
    record_update(at, (bits) / 8, LINES_SITE);                                       \
    return builtin(at, value, __ATOMIC_SEQ_CST);                                     \
  }

#define LINES_ATOMIC(bits)                                                                         \
  std::uint##bits##_t __tsan_atomic##bits##_load(const volatile std::uint##bits##_t* at, int) {    \
    record(const_cast<const std::uint##bits##_t*>(at), (bits) / 8, Event::read, LINES_SITE);       \
    return __atomic_load_n(at, __ATOMIC_SEQ_CST);                                                  \
  }                                                                                                \
  void __tsan_atomic##bits##_store(volatile std::uint##bits##_t* at, std::uint##bits##_t value,    \
                                   int order) {                                                    \
    record_store(at, (bits) / 8, order, LINES_SITE);                                               \
    __atomic_store_n(at, value, __ATOMIC_SEQ_CST);                                                 \
  }                                                                                                \
  LINES_UPDATE(bits, exchange, __atomic_exchange_n)                                                \
  LINES_UPDATE(bits, fetch_add, __atomic_fetch_add)                                                \
  LINES_UPDATE(bits, fetch_sub, __atomic_fetch_sub)                                                \
  LINES_UPDATE(bits, fetch_and, __atomic_fetch_and)                                                \
  LINES_UPDATE(bits, fetch_or, __atomic_fetch_or)                                                  \
  LINES_UPDATE(bits, fetch_xor, __atomic_fetch_xor)                                                \
  LINES_UPDATE(bits, fetch_nand, __atomic_fetch_nand)                                              \
  std::uint##bits##_t __tsan_atomic##bits##_compare_exchange_val(                                  \
      volatile std::uint##bits##_t* at, std::uint##bits##_t expected, std::uint##bits##_t desired, \
      int, int) {                                                                                  \
    record_update(at, (bits) / 8, LINES_SITE);                                                     \
    __atomic_compare_exchange_n(at, &expected, desired, false, __ATOMIC_SEQ_CST,                   \
                                __ATOMIC_SEQ_CST);                                                 \
    return expected;                                                                               \
  }

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}

LINES_ACCESS(1)
LINES_ACCESS(2)
LINES_ACCESS(4)
LINES_ACCESS(8)
LINES_ACCESS(16)

void __tsan_vptr_read(void** at) {
  record(static_cast<void*>(at), sizeof *at, Event::read, LINES_SITE);
}
void __tsan_vptr_update(void** at, void*) {
  record(static_cast<void*>(at), sizeof *at, Event::write, LINES_SITE);
}

void* __tsan_memcpy(void* to, const void* from, std::size_t bytes) {
  record(from, bytes, Event::read, LINES_SITE);
  record(to, bytes, Event::write, LINES_SITE);
  return std::memcpy(to, from, bytes);
}
void* __tsan_memmove(void* to, const void* from, std::size_t bytes) {
  record(from, bytes, Event::read, LINES_SITE);
  record(to, bytes, Event::write, LINES_SITE);
  return std::memmove(to, from, bytes);
}
void* __tsan_memset(void* to, int value, std::size_t bytes) {
  record(to, bytes, Event::write, LINES_SITE);
  return std::memset(to, value, bytes);
}

LINES_ATOMIC(8)
LINES_ATOMIC(16)
LINES_ATOMIC(32)
LINES_ATOMIC(64)

void __tsan_atomic_thread_fence(int order) {
  if (order == __ATOMIC_SEQ_CST) perf::lines::note(Event::lock, LINES_SITE);
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
void __tsan_atomic_signal_fence(int) {
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

}  // extern "C"

}  // namespace corelane
