#pragma once
// Where the runtime's own memory comes from, for programs that embed it: coroutine frames
// (runtime/frame_pool.hpp) and receive buffers (runtime/buffer_pool.hpp). By default operator new
// and mmap(2). Everything else is allocated by operator new, which a program can replace.
//
//   struct Pages final : runtime::MemorySource { ... };          // huge pages, an arena, a count
//   static Pages pages;
//   runtime::set_memory_source(pages);                            // first of all in main()
//
//   static runtime::FromResource source(*std::pmr::new_delete_resource());   // the same with
//   std::pmr

#include <cstddef>

namespace corelane::runtime {

// One of a process: a frame does not say where it came from, so that any core, or none, may free
// it. It lives longer than all runtimes, and is called from all cores and other threads at once.
// `Core::current_or_null()` tells which core asks, for memory that is near it.
class MemorySource {
 public:
  MemorySource() = default;
  MemorySource(const MemorySource&) = delete;
  MemorySource& operator=(const MemorySource&) = delete;

  // `bytes` is not 0; `alignment` is 16 (frames) or 4,096 (buffers). Null: there is none. For a
  // frame that ends the process; for buffers it is ENOMEM.
  virtual void* allocate(std::size_t bytes, std::size_t alignment) noexcept = 0;
  // With the same two numbers. Frames are given back by any thread.
  virtual void deallocate(void* memory, std::size_t bytes, std::size_t alignment) noexcept = 0;

 protected:
  ~MemorySource() = default;
};

// Once, before the first coroutine and the first runtime of the process: asserted.
void set_memory_source(MemorySource& source) noexcept;

// Of a std::pmr::memory_resource, or what has its functions. One that throws ends the process.
template <class Resource>
class FromResource final : public MemorySource {
 public:
  explicit FromResource(Resource& resource) noexcept : resource_(resource) {}
  void* allocate(std::size_t bytes, std::size_t alignment) noexcept override {
    return resource_.allocate(bytes, alignment);
  }
  void deallocate(void* memory, std::size_t bytes, std::size_t alignment) noexcept override {
    resource_.deallocate(memory, bytes, alignment);
  }

 private:
  Resource& resource_;
};

namespace detail {
// Null: there is none, use the default.
MemorySource* memory_source() noexcept;
}  // namespace detail

}  // namespace corelane::runtime
