#include "runtime/sim/ring_state.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "runtime/sanitizer.hpp"
#include "runtime/sim/kernel.hpp"
#include "runtime/sim/world.hpp"

namespace corelane::runtime::sim {

const char* name_of(OperationKind kind) noexcept {
  switch (kind) {
    case OperationKind::accept:
      return "accept";
    case OperationKind::connect:
      return "connect";
    case OperationKind::receive_multishot:
      return "receive_multishot";
    case OperationKind::receive_selected:
      return "receive_selected";
    case OperationKind::receive:
      return "receive";
    case OperationKind::send:
      return "send";
    case OperationKind::send_message:
      return "send_message";
    case OperationKind::receive_message:
      return "receive_message";
    case OperationKind::shutdown:
      return "shutdown";
    case OperationKind::open:
      return "open";
    case OperationKind::open_below:
      return "openat2";
    case OperationKind::read:
      return "read";
    case OperationKind::write:
      return "write";
    case OperationKind::fsync:
      return "fsync";
    case OperationKind::stat_path:
    case OperationKind::stat_descriptor:
      return "stat";
    case OperationKind::remove:
      return "unlink";
    case OperationKind::rename:
      return "rename";
    case OperationKind::make_directory:
      return "mkdir";
    case OperationKind::poll:
      return "poll";
    case OperationKind::close:
      return "close";
    case OperationKind::peer_address:
      return "peer_address";
    case OperationKind::cancel:
      return "cancel";
    case OperationKind::wake:
      return "wake";
  }
  return "?";
}

BufferGroup::BufferGroup(std::byte* base, std::uint32_t buffer_bytes, std::uint32_t count,
                         std::uint32_t given)
    : base_(base), buffer_bytes_(buffer_bytes), places_(count, Place::with_program) {
  for (std::uint32_t id = 0; id < given; ++id) {
    places_[id] = Place::fresh;
    available_.push_back(static_cast<std::uint16_t>(id));
  }
  poison_memory(base, std::size_t{buffer_bytes} * count);
}

BufferGroup::~BufferGroup() {
  unpoison_memory(base_, std::size_t{buffer_bytes_} * count());
}

std::uint16_t BufferGroup::take(bool& touched) noexcept {
  const std::uint16_t buffer = available_.front();
  available_.pop_front();
  const Place before = std::exchange(places_[buffer], Place::with_program);
  std::byte* const bytes = memory(buffer);
  unpoison_memory(bytes, buffer_bytes_);
  // All bytes are equal to the first: compared with itself, one byte on.
  touched = before == Place::with_kernel &&
            (bytes[0] != kPoison || std::memcmp(bytes, bytes + 1, buffer_bytes_ - 1) != 0);
  return buffer;
}

bool BufferGroup::give_back(std::uint16_t buffer) noexcept {
  if (buffer >= places_.size() || places_[buffer] != Place::with_program) return false;
  places_[buffer] = Place::with_kernel;
  available_.push_back(buffer);
  unpoison_memory(memory(buffer), buffer_bytes_);  // a pool may have forbidden it already
  std::memset(memory(buffer), static_cast<int>(kPoison), buffer_bytes_);
  poison_memory(memory(buffer), buffer_bytes_);
  return true;
}

RingState::RingState(World& its_world, CoreId its_core, const RingOptions& its_options)
    : world(its_world),
      core(its_core),
      options(its_options),
      direct(0, its_options.direct_descriptors) {
  world.kernel().add_ring(*this);
}

RingState::~RingState() {
  world.kernel().remove_ring(*this);
}

void RingState::post(const Completion& completion) {
  if (queue_full()) {
    overflow.push_back(completion);
  } else {
    completions.push_back(completion);
  }
}

void RingState::take_in_overflow() {
  if (overflow.empty()) return;
  ++counters.overflows;
  while (!overflow.empty() && !queue_full()) {
    completions.push_back(overflow.front());
    overflow.pop_front();
  }
}

}  // namespace corelane::runtime::sim
