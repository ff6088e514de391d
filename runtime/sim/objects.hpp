#pragma once
// What the descriptors of a simulated world stand for: listeners, ends of streams, open files. They
// are named by ids that are never used again, live in the Kernel's table, and are counted: each
// descriptor, each operation in flight and each place in an accept queue holds one reference.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <queue>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runtime/address.hpp"
#include "runtime/sim/file_system.hpp"
#include "runtime/types.hpp"

namespace corelane::runtime::sim {

using ObjectId = std::uint64_t;     // 0: none
using OperationId = std::uint64_t;  // 0: none

enum class ObjectKind : std::uint8_t { listener, stream, file, datagrams };

struct Object {
  Object(ObjectKind its_kind, ObjectId its_id) noexcept : kind(its_kind), id(its_id) {}
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  virtual ~Object() = default;

  const ObjectKind kind;
  const ObjectId id;
  std::uint32_t references = 0;
  std::vector<OperationId> operations;  // in flight on it, in order of submission
};

struct Listener final : Object {
  static constexpr ObjectKind kKind = ObjectKind::listener;
  explicit Listener(ObjectId its_id) noexcept : Object(kKind, its_id) {}

  Address address;
  std::size_t backlog = 0;
  bool reuse_port = false;
  std::deque<ObjectId> queue;  // streams that wait to be accepted, each with a reference
  std::vector<OperationId> accepting;
};

// Bytes in order, taken from the front: one vector that is compacted when half of it is free.
class ByteQueue {
 public:
  std::size_t size() const noexcept { return bytes_.size() - head_; }
  std::span<const std::byte> front(std::size_t count) const noexcept {
    return std::span{bytes_}.subspan(head_, count);
  }
  void append(std::span<const std::byte> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }
  void pop(std::size_t count) {
    head_ += count;
    if (head_ * 2 < bytes_.size()) return;
    bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(head_));
    head_ = 0;
  }
  void truncate(std::size_t size) { bytes_.resize(head_ + size); }

 private:
  std::vector<std::byte> bytes_;
  std::size_t head_ = 0;
};

// One end of a connection. What the other end has sent lies in `incoming`:
//
//   | arrived: may be received | segments: on their way, in order, each with its time of arrival |
struct Stream final : Object {
  static constexpr ObjectKind kKind = ObjectKind::stream;
  explicit Stream(ObjectId its_id) noexcept : Object(kKind, its_id) {}

  enum class State : std::uint8_t { fresh, connecting, connected };
  struct Segment {
    std::size_t bytes;
    Nanoseconds arrival;
    bool end;  // of the stream (FIN); bytes is 0
  };

  State state = State::fresh;
  int family = 0;
  Address local;
  Address remote;
  ObjectId peer = 0;  // the other end; it may be gone
  ByteQueue incoming;
  std::size_t arrived = 0;
  std::deque<Segment> segments;
  Nanoseconds last_arrival = 0;  // segments keep their order
  bool end_arrived = false;
  bool read_shut = false;
  bool write_shut = false;
  bool reset = false;           // broken; what arrived before may still be received
  bool reset_reported = false;  // an operation has failed with ECONNRESET
  bool reset_coming = false;    // a reset is on its way to this end
  std::size_t send_bytes = 0;
  std::size_t receive_bytes = 0;
  OperationId receiving = 0;
  OperationId sending = 0;
};

// A datagram socket. Each datagram takes a time of its own, so they overtake each other.
struct DatagramSocket final : Object {
  static constexpr ObjectKind kKind = ObjectKind::datagrams;
  explicit DatagramSocket(ObjectId its_id) noexcept : Object(kKind, its_id) {}

  struct Datagram {
    Address from;
    std::vector<std::byte> bytes;
  };

  Address local;
  std::optional<Address> peer;    // connected
  std::deque<Datagram> incoming;  // that have arrived
  std::size_t incoming_bytes = 0;
  std::size_t receive_bytes = 0;  // more are lost
  std::deque<OperationId> receiving;
};

struct OpenFile final : Object {
  static constexpr ObjectKind kKind = ObjectKind::file;
  explicit OpenFile(ObjectId its_id) noexcept : Object(kKind, its_id) {}

  std::shared_ptr<FileNode> node;
  int flags = 0;
  std::uint64_t position = 0;
  std::string listed;  // of a directory: the last name that was read
};

// Numbers to objects. Gives out the lowest free number, as the kernel does, so that a number closed
// is used again as soon as possible.
class DescriptorTable {
 public:
  struct Entry {
    ObjectId object = 0;
    bool closing = false;  // a close operation is prepared: the program may not use it any more
  };
  static constexpr std::int32_t kFull = -1;

  DescriptorTable(std::int32_t first, std::uint32_t most) noexcept : first_(first), most_(most) {}
  std::int32_t add(ObjectId object) {
    if (open_ == most_) return kFull;
    ++open_;
    std::size_t index = entries_.size();
    if (free_.empty()) {
      entries_.emplace_back();
    } else {
      index = free_.top();
      free_.pop();
    }
    entries_[index] = {.object = object, .closing = false};
    return first_ + static_cast<std::int32_t>(index);
  }
  // Null: not open.
  Entry* find(std::int32_t number) noexcept {
    if (number < first_) return nullptr;
    const auto index = static_cast<std::size_t>(number - first_);
    return index < entries_.size() && entries_[index].object != 0 ? &entries_[index] : nullptr;
  }
  // Returns the object whose reference the number held.
  ObjectId remove(std::int32_t number) {
    Entry* entry = find(number);
    if (entry == nullptr) return 0;
    --open_;
    free_.push(static_cast<std::size_t>(number - first_));
    return std::exchange(*entry, {}).object;
  }
  std::uint32_t open() const noexcept { return open_; }
  std::int32_t first() const noexcept { return first_; }
  template <class Visit>
  void for_each(Visit&& visit) const {
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      if (entries_[i].object != 0) visit(first_ + static_cast<std::int32_t>(i), entries_[i].object);
    }
  }

 private:
  std::int32_t first_;
  std::uint32_t most_;
  std::uint32_t open_ = 0;
  std::vector<Entry> entries_;
  std::priority_queue<std::size_t, std::vector<std::size_t>, std::greater<>> free_;
};

}  // namespace corelane::runtime::sim
