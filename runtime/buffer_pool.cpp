#include "runtime/buffer_pool.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>

#include "runtime/core.hpp"
#include "runtime/memory_source.hpp"
#include "runtime/sanitizer.hpp"

namespace corelane::runtime {
namespace {

constexpr std::size_t kPageBytes = 4096;

// Null: errno says why.
std::byte* take_pages(std::size_t bytes) noexcept {
  if (MemorySource* const source = detail::memory_source()) {
    void* const memory = source->allocate(bytes, kPageBytes);
    if (memory == nullptr) errno = ENOMEM;
    return static_cast<std::byte*>(memory);
  }
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? nullptr : static_cast<std::byte*>(memory);
}

void give_pages(std::byte* memory, std::size_t bytes) noexcept {
  if (MemorySource* const source = detail::memory_source()) {
    source->deallocate(memory, bytes, kPageBytes);
  } else {
    munmap(memory, bytes);
  }
}

}  // namespace

BufferPool::~BufferPool() {
  // Every lease has gone home: its holders were destroyed before.
  for (std::size_t number = 0; number < groups_.size(); ++number) {
    const Group& group = groups_[number];
    RT_ASSERT(group.out == 0);
    for (const std::uint16_t buffer : group.spare) {
      ring_.recycle(static_cast<std::uint16_t>(number), buffer);
    }
    ring_.unregister_buffers(static_cast<std::uint16_t>(number));
    const std::size_t bytes = std::size_t{group.buffer_bytes} * group.count;
    unpoison_memory(group.memory, bytes);
    give_pages(group.memory, bytes);
    Core::current().memory().remove(MemoryKind::receive_buffers, bytes);
  }
}

Result<std::uint16_t> BufferPool::add_group(const GroupOptions& options) {
  const std::size_t bytes = std::size_t{options.buffer_bytes} * options.count;
  std::byte* const memory = take_pages(bytes);
  if (memory == nullptr) return Unexpected{Error::from_errno(errno)};
  const auto number = static_cast<std::uint16_t>(groups_.size());
  const std::uint32_t given = std::min(options.count, kGivenFirst);
  const auto registered =
      ring_.register_buffers(number, memory, options.buffer_bytes, options.count, given);
  if (!registered) {
    give_pages(memory, bytes);
    return Unexpected{registered.error()};
  }
  Core::current().memory().add(MemoryKind::receive_buffers, bytes);
  groups_.push_back({.memory = memory,
                     .buffer_bytes = options.buffer_bytes,
                     .count = options.count,
                     .out = 0,
                     .given_max = given,
                     .taken = 0,
                     .spare = {},
                     .leases = std::vector<std::uint32_t>(options.count)});
  std::vector<std::uint16_t>& spare = groups_.back().spare;
  spare.reserve(options.count);
  for (std::uint32_t id = options.count; id > given; --id) {
    spare.push_back(static_cast<std::uint16_t>(id - 1));
  }
  return number;
}

std::span<std::byte> BufferPool::taken(BufferId id, std::size_t bytes) noexcept {
  Group& group = this->group(id);
  RT_ASSERT(id.buffer < group.count);
  RT_ASSERT(group.leases[id.buffer] == 0);
  RT_ASSERT(bytes <= group.buffer_bytes);
  group.leases[id.buffer] = 1;
  ++group.out;
  ++group.taken;
  give_spare(id.group);
  std::byte* start = group.memory + std::size_t{id.buffer} * group.buffer_bytes;
  unpoison_memory(start, group.buffer_bytes);
  return {start, bytes};
}

// Replaces a buffer that the kernel has taken.
void BufferPool::give_spare(std::uint16_t number) noexcept {
  Group& group = groups_[number];
  if (group.spare.empty()) return;
  ring_.recycle(number, group.spare.back());
  group.spare.pop_back();
}

void BufferPool::grow(std::uint16_t number) noexcept {
  Group& group = groups_[number];
  // Several receives may report one shortage: grow only if the whole share was taken since the last
  // growth.
  if (group.taken < group.given_max) return;
  group.taken = 0;
  const std::uint32_t more = std::min(group.given_max, group.count - group.given_max);
  group.given_max += more;
  for (std::uint32_t i = 0; i < more; ++i) give_spare(number);
}

void BufferPool::release(BufferId id) noexcept {
  Group& group = this->group(id);
  RT_ASSERT(group.leases[id.buffer] > 0);
  if (--group.leases[id.buffer] != 0) return;
  --group.out;
  poison_memory(group.memory + std::size_t{id.buffer} * group.buffer_bytes, group.buffer_bytes);
  const std::size_t given = group.count - group.out - 1 - group.spare.size();
  if (given < group.given_max) {
    ring_.recycle(id.group, id.buffer);
  } else {
    group.spare.push_back(id.buffer);
  }
  if (returned_ != nullptr) std::exchange(returned_, nullptr)(returned_context_);
}

}  // namespace corelane::runtime
