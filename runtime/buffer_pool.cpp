#include "runtime/buffer_pool.hpp"

#include <sys/mman.h>

#include <cerrno>

#include "runtime/sanitizer.hpp"

namespace runtime {

BufferPool::~BufferPool() {
  // Every lease has gone home: whoever held one was destroyed before.
  for (std::size_t number = 0; number < groups_.size(); ++number) {
    const Group& group = groups_[number];
    RT_ASSERT(group.out == 0);
    ring_.unregister_buffers(static_cast<std::uint16_t>(number));
    const std::size_t bytes = std::size_t{group.buffer_bytes} * group.count;
    unpoison_memory(group.memory, bytes);
    munmap(group.memory, bytes);
  }
}

Result<std::uint16_t> BufferPool::add_group(const GroupOptions& options) {
  const std::size_t bytes = std::size_t{options.buffer_bytes} * options.count;
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return Unexpected{Error::from_errno(errno)};
  const auto number = static_cast<std::uint16_t>(groups_.size());
  const auto registered = ring_.register_buffers(number, static_cast<std::byte*>(memory),
                                                 options.buffer_bytes, options.count);
  if (!registered) {
    munmap(memory, bytes);
    return Unexpected{registered.error()};
  }
  groups_.push_back({.memory = static_cast<std::byte*>(memory),
                     .buffer_bytes = options.buffer_bytes,
                     .count = options.count,
                     .out = 0,
                     .leases = std::vector<std::uint32_t>(options.count)});
  return number;
}

std::span<std::byte> BufferPool::taken(BufferId id, std::size_t bytes) noexcept {
  Group& group = this->group(id);
  RT_ASSERT(id.buffer < group.count);
  RT_ASSERT(group.leases[id.buffer] == 0);
  RT_ASSERT(bytes <= group.buffer_bytes);
  group.leases[id.buffer] = 1;
  ++group.out;
  std::byte* start = group.memory + std::size_t{id.buffer} * group.buffer_bytes;
  unpoison_memory(start, group.buffer_bytes);
  return {start, bytes};
}

void BufferPool::release(BufferId id) noexcept {
  Group& group = this->group(id);
  RT_ASSERT(group.leases[id.buffer] > 0);
  if (--group.leases[id.buffer] != 0) return;
  --group.out;
  poison_memory(group.memory + std::size_t{id.buffer} * group.buffer_bytes, group.buffer_bytes);
  ring_.recycle(id.group, id.buffer);
  if (returned_ != nullptr) std::exchange(returned_, nullptr)(returned_context_);
}

}  // namespace runtime
