#include "runtime/sim/kernel.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "runtime/sim/kernel_objects.hpp"
#include "runtime/sim/world.hpp"

namespace corelane::runtime::sim {

Kernel::Kernel(World& world)
    : world_(world), plain_(kFirstDescriptor, world.faults().descriptors_max) {}
Kernel::~Kernel() = default;

// --- Rings

void Kernel::add_ring(RingState& ring) {
  ring.index = static_cast<std::uint32_t>(rings_.size());
  rings_.push_back(&ring);
}

void Kernel::remove_ring(RingState& ring) {
  for (Operation& operation : operations_) {
    if (operation.id != 0 && operation.ring == ring.index) forget(operation);
  }
  std::vector<std::int32_t> open;
  ring.direct.for_each([&](std::int32_t number, ObjectId) { open.push_back(number); });
  for (const std::int32_t number : open) release(ring.direct.remove(number));
  rings_[ring.index] = nullptr;
}

RingState* Kernel::ring_of(CoreId core) const noexcept {
  for (auto ring = rings_.rbegin(); ring != rings_.rend(); ++ring) {
    if (*ring != nullptr && (*ring)->core == core) return *ring;
  }
  return nullptr;
}

void Kernel::submit(RingState& ring) {
  for (const Operation& prepared : ring.prepared) {
    world_.trace().note(TraceKind::operation, world_.now(), ring.core,
                        static_cast<std::uint64_t>(prepared.kind), prepared.token.value);
    switch (prepared.kind) {
      case OperationKind::cancel:
        request_cancel(ring, prepared);
        break;
      case OperationKind::peer_address:
        read_peer_address(ring, prepared);
        break;
      case OperationKind::wake:
        world_.trace().note(TraceKind::wake, world_.now(), ring.core, prepared.offset, 0);
        world_.about(ring.core, "wake");
        add_event(world_.now() + step_delay(), EventKind::wake, prepared.offset);
        break;
      default:
        take_over(ring, prepared);
    }
  }
  ring.prepared.clear();
}

// --- Events

void Kernel::add_event(Nanoseconds due, EventKind kind, std::uint64_t id) {
  events_.push_back({.due = due, .sequence = next_sequence_++, .kind = kind, .id = id});
  std::push_heap(events_.begin(), events_.end(), later);
}

void Kernel::run_due() {
  while (!events_.empty() && events_.front().due <= world_.now()) {
    std::pop_heap(events_.begin(), events_.end(), later);
    const Event event = events_.back();
    events_.pop_back();
    run(event);
  }
}

void Kernel::run(const Event& event) {
  switch (event.kind) {
    case EventKind::step:
      if (Operation* operation = find_operation(event.id)) {
        operation->scheduled = false;
        step(*operation);
      }
      break;
    case EventKind::cancel:
      if (Operation* operation = find_operation(event.id)) cancel_now(*operation);
      break;
    case EventKind::arrival:
      world_.about(kNoCore, "arrival", event.id);
      if (auto* stream = find<Stream>(event.id)) arrive(*stream);
      break;
    case EventKind::reset:
      world_.about(kNoCore, "reset", event.id);
      if (auto* stream = find<Stream>(event.id)) reset_arrives(*stream);
      break;
    case EventKind::wake:
      deliver_wake(event.id, 0);
      break;
    case EventKind::bell:
      deliver_wake(event.id, Ring::kBellSlot);
      break;
    case EventKind::call:
      world_.about(kNoCore, "call");
      calls_.extract(event.id).mapped()();
      break;
  }
}

void Kernel::ring_bell(std::uint64_t ring_index) {
  world_.trace().note(TraceKind::wake, world_.now(), 0, ring_index, 1);
  add_event(world_.now() + step_delay(), EventKind::bell, ring_index);
}

void Kernel::call_after(Nanoseconds delay, std::function<void()> function) {
  calls_.emplace(next_call_, std::move(function));
  add_event(world_.now() + delay, EventKind::call, next_call_++);
}

void Kernel::deliver_wake(std::uint64_t ring_index, std::uint32_t slot) {
  if (ring_index >= rings_.size() || rings_[ring_index] == nullptr) return;
  ++world_.counters().completions;
  rings_[ring_index]->post(
      {.token = Token::make(Sink::wake, slot, 0), .result = 0, .more = slot == Ring::kBellSlot});
}

Nanoseconds Kernel::step_delay() {
  const Nanoseconds late = world_.late(Fault::delayed_completion);
  return late != 0 ? late : world_.draw(&Faults::step_delay);
}

// --- Objects

void Kernel::release(ObjectId id) {
  Object& object = *objects_.at(id);
  RT_ASSERT(object.references > 0);
  if (--object.references != 0) return;
  if (object.kind == ObjectKind::stream) close_stream(static_cast<Stream&>(object));
  if (object.kind == ObjectKind::listener) close_listener(static_cast<Listener&>(object));
  if (object.kind == ObjectKind::datagrams) std::erase(datagrams_, id);
  objects_.erase(id);
}

void Kernel::check_open(RingState& ring, Descriptor descriptor, OperationKind kind) {
  if (outside(descriptor)) return;
  auto* entry = table(ring, descriptor).find(descriptor.number);
  if (entry == nullptr || entry->closing) {
    world_.fail(fmt::format("{} on {}descriptor {}, which is {}", name_of(kind),
                            descriptor.direct ? "direct " : "", descriptor.number,
                            entry == nullptr ? "not open" : "closed"));
  }
  if (kind == OperationKind::close) entry->closing = true;
}

void Kernel::close_now(RingState& ring, Descriptor descriptor) {
  check_open(ring, descriptor, OperationKind::close);
  const ObjectId object = table(ring, descriptor).remove(descriptor.number);
  if (!objects_.at(object)->operations.empty()) {
    world_.fail(fmt::format("close_now of descriptor {}, on which an operation is in flight",
                            descriptor.number));
  }
  release(object);
}

void Kernel::close_outside(Descriptor descriptor) {
  release(plain_.remove(descriptor.number));
}

// --- Reports

namespace {

const char* name_of(const Object& object) noexcept {
  constexpr const char* kKinds[] = {"listener", "stream", "file", "datagrams"};
  return kKinds[static_cast<std::size_t>(object.kind)];
}

}  // namespace

std::string Kernel::name_of_object(ObjectId id) const {
  const auto found = objects_.find(id);
  if (found == objects_.end()) return "a closed object";
  return fmt::format("{} {}", name_of(*found->second), id);
}

std::string Kernel::addresses_of(ObjectId id) const {
  const auto found = objects_.find(id);
  if (found == objects_.end() || found->second->kind != ObjectKind::stream) return {};
  const auto& stream = static_cast<const Stream&>(*found->second);
  if (stream.state != Stream::State::connected) return {};
  return fmt::format("{}, its peer is {}", stream.local.text(), stream.remote.text());
}

bool Kernel::ignored_in_flight() const noexcept {
  return std::any_of(operations_.begin(), operations_.end(), [](const Operation& operation) {
    return operation.id != 0 && operation.token.sink() == Sink::ignore;
  });
}

std::string Kernel::describe_operations(std::size_t most) const {
  std::string text;
  auto out = std::back_inserter(text);
  std::size_t count = 0;
  for (const Operation& operation : operations_) {
    if (operation.id == 0) continue;
    if (++count > most) continue;
    fmt::format_to(out, "  core {}: {} on {}descriptor {}, sink {} slot {} generation {}{}\n",
                   ring_of(operation).core, name_of(operation.kind),
                   operation.descriptor.direct ? "direct " : "", operation.descriptor.number,
                   static_cast<int>(operation.token.sink()), operation.token.slot(),
                   operation.token.generation(), operation.scheduled ? "" : ", parked");
  }
  if (count > most) fmt::format_to(out, "  and {} more\n", count - most);
  return text;
}

std::string Kernel::describe_descriptors(std::size_t most) const {
  std::string text;
  auto out = std::back_inserter(text);
  std::size_t count = 0;
  const auto describe = [&](const char* kind, std::int32_t number, ObjectId id) {
    if (++count > most) return;
    fmt::format_to(out, "  {} {}: {}\n", kind, number, name_of(*objects_.at(id)));
  };
  plain_.for_each([&](std::int32_t number, ObjectId id) { describe("descriptor", number, id); });
  for (const RingState* ring : rings_) {
    if (ring == nullptr) continue;
    ring->direct.for_each(
        [&](std::int32_t number, ObjectId id) { describe("direct descriptor", number, id); });
  }
  if (count > most) fmt::format_to(out, "  and {} more\n", count - most);
  return text;
}

}  // namespace corelane::runtime::sim
