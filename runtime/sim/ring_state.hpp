#pragma once
// RingState: the inside of a simulated Ring: what the core has prepared, what is in its completion
// queue, its provided buffers and its direct descriptors. Made and destroyed with the Ring; the
// world's Kernel keeps a pointer to it as long.

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <unordered_map>
#include <vector>

#include "runtime/ring.hpp"
#include "runtime/sim/objects.hpp"
#include "runtime/types.hpp"

namespace corelane::runtime::sim {

class World;

enum class OperationKind : std::uint8_t {
  accept,
  connect,
  receive_multishot,
  receive_selected,
  receive,
  send,
  send_message,
  receive_message,
  shutdown,
  open,
  open_below,
  read,
  write,
  fsync,
  stat_path,
  stat_descriptor,
  remove,
  rename,
  make_directory,
  poll,
  close,
  // What follows is done when it is handed over, and is never in flight:
  peer_address,
  cancel,
  wake,
};
const char* name_of(OperationKind kind) noexcept;

// An operation from its preparation to its final completion.
struct Operation {
  OperationKind kind{};
  Token token;
  Descriptor descriptor;
  union {
    std::byte* into = nullptr;  // receive, read, peer_address
    const std::byte* from;      // send, write
    const msghdr* message;      // send_message
    msghdr* message_into;       // receive_message
    const Address* address;     // connect
    const char* path;           // open, open_below, stat_path, remove, rename, make_directory
  };
  const char* target = nullptr;  // of rename
  struct statx* stat = nullptr;
  std::size_t bytes = 0;         // of into, from or all pieces of message; most to receive
  std::size_t done = 0;          // how many of them a send has handed over
  std::uint64_t offset = 0;      // file offset; target of cancel and wake
  std::uint64_t bytes_hash = 0;  // of what is sent, to see that nobody changes it in flight
  // Of open and rename; `how` of shutdown; events of poll; 1: direct of accept, all of cancel, a
  // directory of remove.
  int flags = 0;
  mode_t mode = 0;
  std::uint16_t group = 0;
  std::uint8_t stage = 0;  // of connect
  std::uint32_t attempts = 0;

  // Set by the Kernel:
  OperationId id = 0;
  std::uint32_t ring = 0;
  ObjectId object = 0;
  bool scheduled = false;       // a step of it is among the events
  bool cancel_pending = false;  // a cancel of it is among the events
};

// A group of provided buffers. One that the program gives back is poisoned: 0xA5 everywhere, so
// that a view of it that was kept shows it; and forbidden to touch under AddressSanitizer.
class BufferGroup {
 public:
  static constexpr std::byte kPoison{0xa5};

  BufferGroup(std::byte* base, std::uint32_t buffer_bytes, std::uint32_t count,
              std::uint32_t given);
  BufferGroup(const BufferGroup&) = delete;
  BufferGroup& operator=(const BufferGroup&) = delete;
  ~BufferGroup();

  std::uint32_t buffer_bytes() const noexcept { return buffer_bytes_; }
  std::uint32_t count() const noexcept { return static_cast<std::uint32_t>(places_.size()); }
  bool empty() const noexcept { return available_.empty(); }
  std::uint32_t held_by_program() const noexcept {
    return count() - static_cast<std::uint32_t>(available_.size());
  }
  std::byte* memory(std::uint16_t buffer) const noexcept {
    return base_ + std::size_t{buffer} * buffer_bytes_;
  }
  // The buffer that has waited longest; it is the program's then. Sets `touched` if somebody wrote
  // into it while it was the kernel's.
  std::uint16_t take(bool& touched) noexcept;
  // False: there is no such buffer, or the kernel has it already.
  bool give_back(std::uint16_t buffer) noexcept;

 private:
  std::byte* const base_;
  const std::uint32_t buffer_bytes_;
  enum class Place : std::uint8_t { fresh, with_kernel, with_program };
  std::vector<Place> places_;  // fresh: the kernel's, and never used; so its memory is not touched
  std::deque<std::uint16_t> available_;
};

struct RingState {
  static constexpr std::size_t kGroupsMax = 8;
  static constexpr std::int32_t kFirstWakeHandle = 100;

  RingState(World& its_world, CoreId its_core, const RingOptions& its_options);
  ~RingState();
  RingState(const RingState&) = delete;
  RingState& operator=(const RingState&) = delete;

  // Puts it into the completion queue, or behind it if that is full.
  void post(const Completion& completion);
  bool queue_full() const noexcept { return completions.size() >= options.completion_entries; }
  void take_in_overflow();

  World& world;
  const CoreId core;
  const RingOptions options;
  std::uint32_t index = 0;  // among the world's rings, in order of creation
  std::vector<Operation> prepared;
  std::deque<Completion> completions;
  std::deque<Completion> overflow;
  std::array<std::unique_ptr<BufferGroup>, kGroupsMax> groups;
  DescriptorTable direct;
  std::unordered_multimap<std::uint64_t, OperationId> by_token;  // operations in flight
  Nanoseconds deadline = 0;      // of the last wait(): the first turn is due at once
  bool lanes_held_back = false;  // lane_batch() gave less than was asked: turn again
  Nanoseconds held_until = 0;    // a slow core is not turned before
  std::uint64_t turns = 0;
  Ring::Counters counters;
};

}  // namespace corelane::runtime::sim
