// Operations from the handing over to the final completion, and their cancelling.

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "runtime/sanitizer.hpp"
#include "runtime/sim/kernel.hpp"
#include "runtime/sim/kernel_objects.hpp"
#include "runtime/sim/world.hpp"

namespace corelane::runtime::sim {
namespace {

constexpr OperationId make_id(std::uint64_t use, std::size_t slot) noexcept {
  return use << 32 | slot;
}
constexpr std::size_t slot_of(OperationId id) noexcept {
  return id & 0xffff'ffff;
}

bool poisoned([[maybe_unused]] const void* start, [[maybe_unused]] std::size_t bytes) noexcept {
#if RT_ASAN
  return bytes != 0 && __asan_region_is_poisoned(const_cast<void*>(start), bytes) != nullptr;
#else
  return false;
#endif
}

std::uint64_t hash_of_sent(const Operation& operation) noexcept {
  if (operation.kind != OperationKind::send_message) {
    return Trace::hash_of({operation.from, operation.bytes});
  }
  std::uint64_t hash = 0;
  for (std::size_t i = 0; i < operation.message->msg_iovlen; ++i) {
    const iovec& piece = operation.message->msg_iov[i];
    const std::span bytes{static_cast<const std::byte*>(piece.iov_base), piece.iov_len};
    hash = hash * 31 + Trace::hash_of(bytes);
  }
  return hash;
}

bool is_send(OperationKind kind) noexcept {
  return kind == OperationKind::send || kind == OperationKind::send_message;
}

bool is_receive(OperationKind kind) noexcept {
  return kind == OperationKind::receive_multishot || kind == OperationKind::receive_selected ||
         kind == OperationKind::receive;
}

}  // namespace

// --- Operations

Operation* Kernel::find_operation(OperationId id) noexcept {
  if (id == 0) return nullptr;
  Operation& operation = operations_[slot_of(id)];
  return operation.id == id ? &operation : nullptr;
}

void Kernel::take_over(RingState& ring, const Operation& prepared) {
  std::size_t slot = operations_.size();
  if (free_.empty()) {
    operations_.emplace_back();
  } else {
    slot = free_.back();
    free_.pop_back();
  }
  Operation& operation = operations_[slot];
  operation = prepared;
  operation.id = make_id(++next_use_, slot);
  operation.ring = ring.index;
  ring.by_token.emplace(operation.token.value, operation.id);
  if (operation.descriptor.valid() && !outside(operation.descriptor)) {
    const auto* entry = table(ring, operation.descriptor).find(operation.descriptor.number);
    if (entry == nullptr) {
      world_.fail(fmt::format("{} handed over on descriptor {}, which is not open",
                              name_of(operation.kind), operation.descriptor.number));
    }
    operation.object = entry->object;
    Object& object = *objects_.at(operation.object);
    ++object.references;
    object.operations.push_back(operation.id);
    claim(operation);
  }
  if (is_send(operation.kind)) operation.bytes_hash = hash_of_sent(operation);
  check_memory(operation);
  world_.about(ring.core, name_of(operation.kind), operation.object);
  schedule(operation, step_delay());
}

// Two receives or two sends in flight on one stream could swap its bytes: a bug of the program.
void Kernel::claim(const Operation& operation) {
  if (operation.kind == OperationKind::accept) {
    object_of<Listener>(operation).accepting.push_back(operation.id);
    return;
  }
  OperationId* place = nullptr;
  if (operation.kind == OperationKind::poll) {
    auto* stream = find<Stream>(operation.object);
    if (stream != nullptr) place = &stream->receiving;
  } else if (is_receive(operation.kind)) {
    place = &object_of<Stream>(operation).receiving;
  } else if (operation.kind == OperationKind::receive_message) {
    object_of<DatagramSocket>(operation).receiving.push_back(operation.id);
  } else if (is_send(operation.kind) && find<DatagramSocket>(operation.object) == nullptr) {
    place = &object_of<Stream>(operation).sending;
  }
  if (place == nullptr) return;
  if (*place != 0) {
    world_.fail(fmt::format("{} on descriptor {}, on which a {} is in flight",
                            name_of(operation.kind), operation.descriptor.number,
                            name_of(find_operation(*place)->kind)));
  }
  *place = operation.id;
}

void Kernel::schedule(Operation& operation, Nanoseconds delay) {
  if (operation.scheduled) return;
  operation.scheduled = true;
  add_event(world_.now() + delay, EventKind::step, operation.id);
}

void Kernel::wake(OperationId id, Nanoseconds delay) {
  if (Operation* operation = find_operation(id)) schedule(*operation, delay);
}

void Kernel::step(Operation& operation) {
  ++operation.attempts;
  world_.about(ring_of(operation).core, name_of(operation.kind), operation.object);
  check_memory(operation);
  if (outside(operation.descriptor)) return step_outside(operation);
  switch (operation.kind) {
    case OperationKind::accept:
      return step_accept(operation);
    case OperationKind::connect:
      return step_connect(operation);
    case OperationKind::receive_multishot:
    case OperationKind::receive_selected:
    case OperationKind::receive:
      return step_receive(operation);
    case OperationKind::send:
    case OperationKind::send_message:
      if (auto* socket = find<DatagramSocket>(operation.object)) {
        return step_send_datagram(operation, *socket);
      }
      return step_send(operation);
    case OperationKind::receive_message:
      return step_receive_datagram(operation);
    case OperationKind::shutdown:
      return step_shutdown(operation);
    case OperationKind::open:
    case OperationKind::open_below:
      return step_open(operation);
    case OperationKind::read:
      return step_read(operation);
    case OperationKind::write:
      return step_write(operation);
    case OperationKind::fsync:
      return step_fsync(operation);
    case OperationKind::stat_path:
    case OperationKind::stat_descriptor:
      return step_stat(operation);
    case OperationKind::remove:
    case OperationKind::rename:
    case OperationKind::make_directory:
      return step_names(operation);
    case OperationKind::poll:
      return step_poll(operation);
    case OperationKind::close:
      return step_close(operation);
    case OperationKind::peer_address:
    case OperationKind::cancel:
    case OperationKind::wake:
      break;
  }
  world_.fail("an operation of this kind cannot be in flight");
}

void Kernel::step_close(Operation& operation) {
  RingState& ring = ring_of(operation);
  const ObjectId object = table(ring, operation.descriptor).remove(operation.descriptor.number);
  if (objects_.at(object)->operations.size() > 1) ++world_.counters().closed_in_use;
  release(object);
  complete(operation, 0, false);
}

void Kernel::complete(Operation& operation, std::int32_t result, bool more) {
  complete_as(operation, {.token = operation.token, .result = result, .more = more});
}

void Kernel::complete_as(Operation& operation, Completion completion) {
  RingState& ring = ring_of(operation);
  if (ring.queue_full()) {
    // A multishot operation does not outlive a full completion queue.
    completion.more = false;
    ++world_.counters().overflows;
  }
  ++world_.counters().completions;
  if (!completion.more) finish(operation);
  ring.post(completion);
}

// The end of an operation: nothing touches its memory from here on.
void Kernel::finish(Operation& operation) {
  check_memory(operation);
  if (is_send(operation.kind) && hash_of_sent(operation) != operation.bytes_hash) {
    world_.fail(fmt::format("bytes were changed while a {} on descriptor {} had them",
                            name_of(operation.kind), operation.descriptor.number));
  }
  if (operation.cancel_pending) ++world_.counters().cancels_lost;
  forget(operation);
}

void Kernel::forget(Operation& operation) {
  auto& by_token = ring_of(operation).by_token;
  auto entry = by_token.find(operation.token.value);
  while (entry->second != operation.id) ++entry;
  by_token.erase(entry);
  const ObjectId object = operation.object;
  if (object != 0) {
    std::erase(objects_.at(object)->operations, operation.id);
    if (auto* stream = find<Stream>(object)) {
      if (stream->receiving == operation.id) stream->receiving = 0;
      if (stream->sending == operation.id) stream->sending = 0;
    } else if (auto* listener = find<Listener>(object)) {
      std::erase(listener->accepting, operation.id);
    } else if (auto* socket = find<DatagramSocket>(object)) {
      std::erase(socket->receiving, operation.id);
    }
  }
  free_.push_back(static_cast<std::uint32_t>(slot_of(operation.id)));
  operation = {};
  if (object != 0) release(object);
}

// Under AddressSanitizer: the memory must live until the operation ends.
void Kernel::check_memory(const Operation& operation) {
  bool gone = false;
  switch (operation.kind) {
    case OperationKind::receive:
    case OperationKind::read:
      gone = poisoned(operation.into, operation.bytes);
      break;
    case OperationKind::send:
    case OperationKind::write:
      gone = poisoned(operation.from, operation.bytes);
      break;
    case OperationKind::send_message:
    case OperationKind::receive_message: {
      const msghdr* message = operation.message;
      gone = poisoned(message, sizeof *message) ||
             poisoned(message->msg_iov, message->msg_iovlen * sizeof(iovec));
      for (std::size_t i = 0; !gone && i < message->msg_iovlen; ++i) {
        gone = poisoned(message->msg_iov[i].iov_base, message->msg_iov[i].iov_len);
      }
      break;
    }
    case OperationKind::connect:
      gone = poisoned(operation.address, sizeof(Address));
      break;
    case OperationKind::open:
    case OperationKind::open_below:
    case OperationKind::stat_path:
    case OperationKind::remove:
    case OperationKind::rename:
    case OperationKind::make_directory:
      gone = poisoned(operation.path, 1) ||
             (operation.target != nullptr && poisoned(operation.target, 1));
      break;
    default:
      break;
  }
  gone = gone || (operation.stat != nullptr && poisoned(operation.stat, sizeof *operation.stat));
  if (gone) {
    world_.fail(fmt::format("the memory of a {} on descriptor {} was freed while it was in flight",
                            name_of(operation.kind), operation.descriptor.number));
  }
}

// --- Cancel

void Kernel::request_cancel(RingState& ring, const Operation& request) {
  const auto [first, last] = ring.by_token.equal_range(request.offset);
  std::vector<OperationId> found;
  for (auto it = first; it != last; ++it) found.push_back(it->second);
  // Several operations may have one token: cancels the oldest, or all of them.
  std::ranges::sort(found, {}, [](OperationId id) { return id >> 32; });
  const bool all = request.flags != 0;
  if (!all && found.size() > 1) found.erase(found.begin() + 1, found.end());
  bool any = false;
  for (const OperationId id : found) {
    Operation* operation = find_operation(id);
    if (operation == nullptr || operation->ring != ring.index) continue;
    any = cancel_later(*operation) || any;
  }
  // A request that has found something says nothing (IOSQE_CQE_SKIP_SUCCESS).
  if (any) return;
  ++world_.counters().completions;
  ring.post({.token = Token::make(Sink::ignore, 0, 0), .result = -ENOENT});
}

// False: this kind runs to its end.
bool Kernel::cancel_later(Operation& operation) {
  switch (operation.kind) {
    case OperationKind::accept:
    case OperationKind::connect:
    case OperationKind::receive_multishot:
    case OperationKind::receive_selected:
    case OperationKind::receive:
    case OperationKind::send:
    case OperationKind::send_message:
    case OperationKind::receive_message:
    case OperationKind::poll:
      break;
    case OperationKind::read:
      if (outside(operation.descriptor)) break;
      return false;
    default:
      return false;
  }
  if (operation.cancel_pending) return true;
  world_.about(ring_of(operation).core, "cancel", operation.object);
  if (const Nanoseconds delay = world_.late(Fault::late_cancel); delay != 0) {
    operation.cancel_pending = true;
    add_event(world_.now() + delay, EventKind::cancel, operation.id);
  } else if (world_.coin("takes a step")) {
    operation.cancel_pending = true;
    add_event(world_.now() + step_delay(), EventKind::cancel, operation.id);
  } else {
    cancel_now(operation);
  }
  return true;
}

void Kernel::cancel_now(Operation& operation) {
  operation.cancel_pending = false;
  ++world_.counters().cancels_won;
  const bool partly = operation.done != 0;
  complete(operation, partly ? static_cast<std::int32_t>(operation.done) : -ECANCELED, false);
}

}  // namespace corelane::runtime::sim
