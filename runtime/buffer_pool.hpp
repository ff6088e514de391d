#pragma once
// BufferPool: the receive buffers of one core, which the kernel fills (provided buffers), in groups
// of equal size. A buffer is the kernel's, or is held by leases; the last lease returns it. An
// idle connection holds none. All on one core.
//
//   kernel --completion--> lease (handler, send queue: share()) --last one gone--> kernel
//
// The kernel has a share of each group, which grows when the kernel runs out (grow()). The kernel
// cycles through all buffers of its share. So a small share leaves the other memory untouched, and
// keeps used memory in the cache. For each buffer that the kernel takes, it gets a spare one, the
// most recently used first.
//
// Running out is ordinary load: receives end with ENOBUFS and are armed again when buffers return
// (on_returned). Under ASan a buffer that went home is poisoned until the kernel hands it out
// again.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "runtime/assert.hpp"
#include "runtime/result.hpp"
#include "runtime/ring.hpp"

namespace corelane::runtime {

// Names a buffer of a pool, for places that store many (send queues). A plain value: copies do not
// change the leases; the holder knows which copy owns a lease.
struct BufferId {
  std::uint16_t group;  // no initializers: it lies in a union there
  std::uint16_t buffer;
  friend bool operator==(const BufferId&, const BufferId&) = default;
};
inline constexpr BufferId kNoBuffer{.group = 0xffff, .buffer = 0xffff};

class BufferPool {
 public:
  struct GroupOptions {
    std::uint32_t buffer_bytes;
    std::uint32_t count;  // a power of two, at most 32,768
  };

  explicit BufferPool(Ring& ring) noexcept : ring_(ring) {}
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  // The group's number for receive operations. Memory is mapped (or is the memory source's:
  // runtime/memory_source.hpp), and touched when the kernel first fills it.
  Result<std::uint16_t> add_group(const GroupOptions& options);

  // A completion brought this buffer: it has one lease now. The bytes may be written to.
  std::span<std::byte> taken(BufferId id, std::size_t bytes) noexcept;
  // The first `bytes` of a buffer that is out.
  std::span<std::byte> bytes(BufferId id, std::size_t bytes) noexcept {
    Group& of = group(id);
    return {of.memory + std::size_t{id.buffer} * of.buffer_bytes, bytes};
  }
  void share(BufferId id) noexcept { ++group(id).leases[id.buffer]; }
  void release(BufferId id) noexcept;
  std::uint32_t leases(BufferId id) noexcept { return group(id).leases[id.buffer]; }

  std::uint32_t buffer_bytes(std::uint16_t group) const noexcept {
    return groups_[group].buffer_bytes;
  }
  std::uint32_t count(std::uint16_t group) const noexcept { return groups_[group].count; }
  // Buffers of a group that are not the kernel's.
  std::uint32_t out(std::uint16_t group) const noexcept { return groups_[group].out; }
  // The kernel ran out: its share grows from now on, if the group has spare buffers.
  void grow(std::uint16_t group) noexcept;
  // True if less than a quarter of the group is left: copy bytes instead of keeping a lease.
  bool scarce(std::uint16_t group) const noexcept {
    return groups_[group].out * 4 > groups_[group].count * 3;
  }
  // Called when a buffer has gone home while this was armed; then it is not armed any more.
  using Returned = void (*)(void* context) noexcept;
  void notify_when_returned(Returned function, void* context) noexcept {
    returned_ = function;
    returned_context_ = context;
  }

 private:
  struct Group {
    std::byte* memory = nullptr;
    std::uint32_t buffer_bytes = 0;
    std::uint32_t count = 0;
    std::uint32_t out = 0;
    std::uint32_t given_max = 0;        // the kernel's share, while there are spare buffers
    std::uint32_t taken = 0;            // since it last grew
    std::vector<std::uint16_t> spare;   // not the kernel's and not out, last used at the back
    std::vector<std::uint32_t> leases;  // a buffer; one for each piece that is to be sent from it
  };
  // More than a quiet core needs at once; a busy one doubles it a few times.
  static constexpr std::uint32_t kGivenFirst = 32;

  void give_spare(std::uint16_t group) noexcept;
  Group& group(BufferId id) noexcept {
    RT_DEBUG_ASSERT(id.group < groups_.size());
    return groups_[id.group];
  }

  Ring& ring_;
  std::vector<Group> groups_;
  Returned returned_ = nullptr;
  void* returned_context_ = nullptr;
};

}  // namespace corelane::runtime
