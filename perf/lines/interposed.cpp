// Functions of the C and C++ libraries that stand for a lock or for memory: defined here, they are
// the ones that the program and its libraries call. Locks go on to the C library's own.

#include <dlfcn.h>
#include <pthread.h>

#include <cstdlib>
#include <new>
#include <type_traits>

#include "perf/lines/line_counter.hpp"

namespace {

using corelane::perf::lines::Event;
using corelane::perf::lines::note;

template <class Function>
Function* next_of(const char* name) noexcept {
  void* const found = ::dlsym(RTLD_NEXT, name);
  if (found == nullptr) std::abort();
  return reinterpret_cast<Function*>(found);
}

void* allocate(std::size_t bytes, std::size_t alignment, const void* site) {
  const std::size_t whole = (bytes + alignment - 1) / alignment * alignment;
  void* const at = std::aligned_alloc(alignment, whole == 0 ? alignment : whole);
  if (at == nullptr) std::abort();
  corelane::perf::lines::allocated(at, bytes, site);
  note(Event::allocate, site);
  return at;
}

void release(void* at, const void* site) noexcept {
  if (at == nullptr) return;
  corelane::perf::lines::freed(at, site);
  std::free(at);
}

}  // namespace

#define LINES_SITE __builtin_return_address(0)

#define LINES_LOCK(name, Type)                                              \
  int name(std::add_pointer_t<Type> lock) noexcept {                        \
    static const auto next = next_of<int(std::add_pointer_t<Type>)>(#name); \
    note(Event::mutex, LINES_SITE);                                         \
    return next(lock);                                                      \
  }

extern "C" {
LINES_LOCK(pthread_mutex_lock, pthread_mutex_t)
LINES_LOCK(pthread_mutex_trylock, pthread_mutex_t)
LINES_LOCK(pthread_rwlock_rdlock, pthread_rwlock_t)
LINES_LOCK(pthread_rwlock_wrlock, pthread_rwlock_t)
LINES_LOCK(pthread_spin_lock, volatile pthread_spinlock_t)
}

// The forms that the library does not make out of these.
void* operator new(std::size_t bytes) {
  return allocate(bytes, __STDCPP_DEFAULT_NEW_ALIGNMENT__, LINES_SITE);
}
void* operator new[](std::size_t bytes) {
  return allocate(bytes, __STDCPP_DEFAULT_NEW_ALIGNMENT__, LINES_SITE);
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return allocate(bytes, static_cast<std::size_t>(alignment), LINES_SITE);
}
void* operator new[](std::size_t bytes, std::align_val_t alignment) {
  return allocate(bytes, static_cast<std::size_t>(alignment), LINES_SITE);
}
void operator delete(void* at) noexcept {
  release(at, LINES_SITE);
}
void operator delete[](void* at) noexcept {
  release(at, LINES_SITE);
}
void operator delete(void* at, std::size_t) noexcept {
  release(at, LINES_SITE);
}
void operator delete[](void* at, std::size_t) noexcept {
  release(at, LINES_SITE);
}
void operator delete(void* at, std::align_val_t) noexcept {
  release(at, LINES_SITE);
}
void operator delete[](void* at, std::align_val_t) noexcept {
  release(at, LINES_SITE);
}
void operator delete(void* at, std::size_t, std::align_val_t) noexcept {
  release(at, LINES_SITE);
}
void operator delete[](void* at, std::size_t, std::align_val_t) noexcept {
  release(at, LINES_SITE);
}
