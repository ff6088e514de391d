#include "services/sessions/sessions.hpp"

#include <cstring>
#include <utility>

#include "runtime/random.hpp"
#include "services/reply/reply.hpp"
#include "ws/frame.hpp"

namespace corelane::services {

using runtime::Core;
using runtime::CoreId;
using runtime::SharedBytes;

namespace {

constexpr std::uint32_t kUuidGenerationMask = 0xfff;  // as many bits as a UUID carries

// One protocol frame inside one server's WebSocket frame, in memory that sessions share.
template <class Body>
SharedBytes frame_for_all(const protocol::MessageHeader& header, const Body& body,
                          std::size_t& bytes) {
  const std::size_t frame = protocol::frame_bytes(header, body);
  const std::size_t head = ws::server_header_bytes(frame);
  bytes = head + frame;
  SharedBytes block = SharedBytes::allocate(bytes);
  ws::write_server_header(block.data(), {.opcode = ws::Opcode::binary}, frame);
  protocol::write_frame({block.data() + head, frame}, header, body);
  return block;
}

}  // namespace

struct Sessions::PendingBroadcast {
  ReplyTo to;
  std::uint32_t delivered = 0;
  std::uint32_t cores_left = 0;
};

// Travels with a Send to another core, at the start of a block; the data comes behind it.
struct Sessions::DirectRecord {
  ReplyTo to;
  protocol::Uuid from;
  protocol::Uuid trace_id;
  std::uint64_t span_id;
  std::uint64_t timestamp;
  std::uint64_t data_bytes;
};

// Travels to a core behind all messages that a session has sent there, and back behind all answers
// that the core gave at once.
struct Sessions::FenceAnswer {
  SessionId session;
  void deliver(CoreId) const { Sessions::local().answered(session); }
};

struct Sessions::FenceAsk {
  SessionId session;
  void deliver(CoreId home) const {
    Core::current().lanes().send(home, FenceAnswer{.session = session});
  }
};

struct Sessions::DirectAsk {
  SharedBytes::Loan block;
  Named target;
  std::size_t lane_bytes() const noexcept { return block.capacity(); }
  void deliver(CoreId) const {
    const SharedBytes held = SharedBytes::adopt(block);
    DirectRecord record;
    std::memcpy(&record, held.data(), sizeof record);
    const protocol::Bytes data{held.data() + sizeof record,
                               static_cast<std::size_t>(record.data_bytes)};
    const Sent done = Sessions::local().deliver_direct(target, record, data);
    if (is_told(record.to, done)) send_completion(record.to, done);
  }
};

struct Sessions::BroadcastAnswer {
  std::uint32_t pending_slot;
  std::uint32_t pending_generation;
  std::uint32_t count;
  void deliver(CoreId) const { Sessions::local().count_broadcast(*this); }
};

struct Sessions::BroadcastAsk {
  SharedBytes::Loan block;
  std::uint64_t bytes;
  SessionId except;
  std::uint32_t pending_slot;
  std::uint32_t pending_generation;
  std::size_t lane_bytes() const noexcept { return block.capacity(); }
  void deliver(CoreId home) const {
    Sessions& sessions = Sessions::local();
    sessions.fan_outs_.run<&Sessions::walk_on, &Sessions::broadcast_>(
        sessions, BroadcastWalk{.block = SharedBytes::adopt(block),
                                .bytes = static_cast<std::size_t>(bytes),
                                .except = except,
                                .home = home,
                                .pending_slot = pending_slot,
                                .pending_generation = pending_generation});
  }
};

Sessions::Sessions(std::uint32_t sessions_max, runtime::Nanoseconds close_timeout,
                   std::uint32_t fan_out_max)
    : sessions_(sessions_max),
      fan_outs_(fan_out_max),
      close_timeout_(close_timeout),
      pending_(std::make_unique<runtime::Slab<PendingBroadcast>>(UINT32_MAX)) {
  set_local(ServiceSlot::sessions, this);
}

Sessions::~Sessions() {
  pending_->clear();
  set_local(ServiceSlot::sessions, nullptr);
}

template <class... Arguments>
Session* Sessions::add(Arguments&&... arguments) {
  const auto made = sessions_.emplace(std::forward<Arguments>(arguments)...);
  if (made.value == nullptr) return nullptr;
  Core& core = Core::current();
  made.value->core_ = core.id();
  made.value->slot_ = made.id.slot;
  made.value->generation_ = made.id.generation;
  // The two highest bits are the UUID's variant.
  made.value->secret_ = (core.ring().entropy() >> 2) | std::uint64_t{1} << 63;
  ++counters_.opened;
  for (Service* service : told_opened_) service->session_opened(*made.value);
  return made.value;
}

Session* Sessions::open(ws::Connection& connection) {
  return add(connection);
}

Session* Sessions::open(net::Stream& stream, protocol::Transport transport) {
  return add(stream, transport);
}

void Sessions::erase(Session& session) noexcept {
  for (Service* service : told_ended_) service->session_ended(session);
  RT_ASSERT(session.subscriptions().empty());
  ++counters_.closed;
  sessions_.erase(session.slot_);
}

Session* Sessions::find(const SessionId& id) noexcept {
  RT_DEBUG_ASSERT(id.core == Core::current().id());
  return sessions_.get({id.slot, id.generation});
}

Session* Sessions::find(const Named& named) noexcept {
  RT_DEBUG_ASSERT(named.id.core == Core::current().id());
  Session* session = sessions_.in_slot(named.id.slot);
  const bool is_it = session != nullptr && session->secret_ == named.secret &&
                     (session->generation_ & kUuidGenerationMask) == named.id.generation;
  return is_it ? session : nullptr;
}

std::byte* Sessions::scratch(std::size_t bytes) {
  if (scratch_.size() < bytes) scratch_.resize(bytes);
  return scratch_.data();
}

void Sessions::answered(const SessionId& id) noexcept {
  if (Session* session = find(id)) session->answered();
}

void Sessions::end(Session& session) {
  Core& core = Core::current();
  for (CoreId to = 0; to < core.cores(); ++to) {
    session.expect_answer();
    core.lanes().send(to, FenceAsk{.session = session.id()});
  }
  session.close_when_answered();
}

// --- Send

void Sessions::send(const DirectSend& what, const ReplyTo& to) {
  Core& core = Core::current();
  const Named named = parse(what.to, core.cores());
  if (!named.valid) return complete(to, Sent{.code = protocol::ErrorCode::unknown_session});
  const DirectRecord record{.to = to,
                            .from = what.from,
                            .trace_id = what.trace_id,
                            .span_id = what.span_id,
                            .timestamp = core.wall_now(),
                            .data_bytes = what.data.size()};
  if (fan_outs_.at_once(named.id.core)) {
    const Sent done = deliver_direct(named, record, what.data);
    if (is_told(to, done)) complete(to, done);
    return;
  }
  SharedBytes block = SharedBytes::allocate(sizeof record + what.data.size());
  std::memcpy(block.data(), &record, sizeof record);
  if (!what.data.empty()) {
    std::memcpy(block.data() + sizeof record, what.data.data(), what.data.size());
  }
  fan_outs_.send(named.id.core, DirectAsk{.block = block.lend(), .target = named});
}

bool Sessions::is_told(const ReplyTo& to, const Sent& done) noexcept {
  return to.wants_success || done.code != protocol::ErrorCode::none;
}

Sent Sessions::deliver_direct(const Named& target, const DirectRecord& record,
                              protocol::Bytes data) {
  constexpr Sent kUnknown{.code = protocol::ErrorCode::unknown_session};
  Session* session = find(target);
  if (session == nullptr) {
    ++counters_.unknown;
    return kUnknown;
  }
  ++counters_.sent;
  const protocol::MessageHeader header{.transaction_id = {},
                                       .timestamp = record.timestamp,
                                       .trace_id = record.trace_id,
                                       .span_id = record.span_id};
  const protocol::DirectMessageBody body{.from = record.from, .data = data};
  if (!session->send(header, body)) return kUnknown;
  session->count_delivery();
  return {};
}

// --- Broadcast

void Sessions::broadcast(const BroadcastSend& what, const ReplyTo& to) {
  ++counters_.broadcasts;
  Core& core = Core::current();
  std::size_t bytes = 0;
  const SharedBytes block =
      frame_for_all({.transaction_id = {},
                     .timestamp = core.wall_now(),
                     .trace_id = what.trace_id,
                     .span_id = what.span_id},
                    protocol::BroadcastMessageBody{.from = what.from, .data = what.data}, bytes);
  const auto pending = pending_->emplace(PendingBroadcast{.to = to, .cores_left = core.cores()});
  for (CoreId to_core = 0; to_core < core.cores(); ++to_core) {
    const BroadcastAsk ask{.block = block.lend(),
                           .bytes = bytes,
                           .except = what.except,
                           .pending_slot = pending.id.slot,
                           .pending_generation = pending.id.generation};
    // A Send to a session of our own core takes effect at once, so an earlier broadcast must not
    // wait in a lane.
    if (fan_outs_.at_once(to_core)) {
      ask.deliver(to_core);
    } else {
      fan_outs_.send(to_core, ask);
    }
  }
}

void Sessions::count_broadcast(const BroadcastAnswer& answer) {
  PendingBroadcast* pending = pending_->get(answer.pending_slot, answer.pending_generation);
  RT_ASSERT(pending != nullptr);
  pending->delivered += answer.count;
  if (--pending->cores_left > 0) return;
  const ReplyTo to = pending->to;
  const BroadcastDone done{.delivered = pending->delivered};
  pending_->erase(answer.pending_slot);
  if (to.wants_success) complete(to, done);
}

bool Sessions::walk_on(BroadcastWalk& walk) noexcept {
  const std::uint32_t end = walk.next + fan_outs_.take(slots() - walk.next);
  const EventRun run{.block = walk.block, .bytes = {walk.block.data(), walk.bytes}};
  for (; walk.next < end; ++walk.next) {
    Session* session = in_slot(walk.next);
    if (session == nullptr || session->id() == walk.except) continue;
    if (session->send_run(run)) ++walk.count;
  }
  if (walk.next < slots()) return false;
  counters_.broadcast_to += walk.count;
  Traffic::local().count_out(protocol::Opcode::BroadcastMessage, walk.count,
                             std::uint64_t{walk.count} * walk.bytes);
  walk.block.reset();
  const BroadcastAnswer answer{.pending_slot = walk.pending_slot,
                               .pending_generation = walk.pending_generation,
                               .count = walk.count};
  const Core& core = Core::current();
  if (walk.home == core.id()) {
    count_broadcast(answer);
  } else {
    Core::current().lanes().send(walk.home, answer);
  }
  return true;
}

}  // namespace corelane::services
