#include "runtime/lanes.hpp"

#include <algorithm>

namespace corelane::runtime {

LaneMatrix::LaneMatrix(CoreId cores, std::uint32_t slots, CoreId threads)
    : cores_(cores),
      peers_(static_cast<CoreId>(cores + threads)),
      slots_(slots),
      words_(std::make_unique<WakeWord[]>(std::size_t{cores} + threads)),
      taken_(std::make_unique<std::atomic<bool>[]>(threads)) {
  RT_ASSERT(cores > 0);
  RT_ASSERT(cores <= kCoresMax);
  RT_ASSERT(threads <= kThreadsMax);
  const std::size_t lanes = std::size_t{peers_} * peers_;
  lines_ = std::vector<LaneLine>((lanes + LaneLine::kLanes - 1) / LaneLine::kLanes);
  for (CoreId from = 0; from < cores; ++from) {
    for (CoreId to = 0; to < cores; ++to) {
      if (from == to) continue;  // the own core's messages stay in its local queue
      place(from, to) = std::make_unique<SpscRing<LaneMessage>>(slots);
    }
  }
}

CoreId LaneMatrix::connect_thread(ThreadWaker& waker) {
  for (CoreId thread = cores_; thread < peers_; ++thread) {
    // Acquire pairs with the release in disconnect_thread(): the lanes are empty.
    if (taken_[thread - cores_].exchange(true, std::memory_order_acquire)) continue;
    for (CoreId core = 0; core < cores_; ++core) {
      if (place(core, thread) != nullptr) continue;  // of a thread before it
      place(core, thread) = std::make_unique<SpscRing<LaneMessage>>(slots_);
      place(thread, core) = std::make_unique<SpscRing<LaneMessage>>(slots_);
    }
    words_[thread].waker = &waker;
    words_[thread].gone.store(false, std::memory_order_relaxed);  // Published by a message.
    return thread;
  }
  return kNoCore;
}

void LaneMatrix::disconnect_thread(CoreId thread) noexcept {
  words_[thread].gone.store(true, std::memory_order_relaxed);
  taken_[thread - cores_].store(false, std::memory_order_release);
}

Lanes::Lanes(LaneMatrix& matrix, CoreId self, Ring& ring)
    : matrix_(matrix), ring_(ring), self_(self), peers_(matrix.cores()) {
  outgoing_.reserve(matrix.peers_max());  // stays where it is: know() may be called by a message
  outgoing_.resize(peers_);
  // Relaxed: the cores start after all handles are stored; the start itself orders them.
  matrix.word(self).wake_handle.store(ring.wake_handle(), std::memory_order_relaxed);
}

void Lanes::know(CoreId peers) {
  if (peers <= peers_) return;
  outgoing_.resize(peers);
  peers_ = peers;
}

void Lanes::push(CoreId to, const LaneMessage& message) noexcept {
  RT_ASSERT(to < peers_);
  Outgoing& out = outgoing_[to];
  if (out.queue.empty()) dirty_.push_back(to);
  out.queue.push_back(message);
  ++counters_.sent;
}

// Bytes that wait for this peer. Reads the peer's index first, and updates bytes_taken.
std::uint64_t Lanes::weigh(CoreId to) noexcept {
  Outgoing& out = outgoing_[to];
  if (to == self_) {
    return own_waits() ? out.bytes_waiting() : 0;
  }
  if (matrix_.word(to).gone.load(std::memory_order_relaxed)) {
    out.bytes_taken = out.bytes;  // the peer takes no messages; waiting ones are dropped
    return 0;
  }
  const SpscRing<LaneMessage>& lane = matrix_.lane(self_, to);
  if (lane.consumed() >= out.mark) {
    out.bytes_taken = out.bytes_marked;
    out.bytes_marked = out.bytes;
    out.mark = lane.pushed() + waiting_for(to);
  }
  return out.bytes_waiting();
}

void Lanes::note_heavy(CoreId to) noexcept {
  if (is_heavy_ || weigh(to) <= kBytesMax) return;
  is_heavy_ = true;
  congested_ = true;
  ++counters_.heavy;
}

bool Lanes::is_any_heavy() noexcept {
  for (CoreId to = 0; to < peers_; ++to) {
    if (outgoing_[to].bytes_waiting() > kBytesMax / 2 && weigh(to) > kBytesMax / 2) return true;
  }
  return false;
}

void Lanes::flush() noexcept {
  if (is_heavy_) is_heavy_ = is_any_heavy();
  if (dirty_.empty()) {
    is_long_ = false;  // a long own lane has been taken by now
    congested_ = is_heavy_;
    return;
  }
  std::size_t kept = 0;
  backlog_total_ = 0;
  bool over = false;
  bool over_half = false;
  for (std::size_t i = 0; i < dirty_.size(); ++i) {
    const CoreId to = dirty_[i];
    if (to != self_) flush_to(to);
    Outgoing& out = outgoing_[to];
    const std::size_t waiting = out.queue.size() - out.sent;
    if (waiting == 0) continue;
    dirty_[kept++] = to;
    if (to == self_ && !own_waits()) continue;
    if (to != self_) backlog_total_ += waiting;
    over = over || waiting > kBacklogMax;
    over_half = over_half || waiting > kBacklogMax / 2;
  }
  dirty_.resize(kept);
  is_long_ = over || (is_long_ && over_half);
  congested_ = is_long_ || is_heavy_;
}

void Lanes::flush_to(CoreId to) noexcept {
  Outgoing& out = outgoing_[to];
  SpscRing<LaneMessage>& lane = matrix_.lane(self_, to);
  out.sent += lane.push(std::span<const LaneMessage>{out.queue}.subspan(out.sent));
  if (out.sent == out.queue.size()) {
    out.queue.clear();
    out.sent = 0;
  } else {
    keep_rest(to);
  }
  if (out.bytes_waiting() > kBytesMax / 4) [[unlikely]]
    weigh(to);
  if (lane.publish()) wake_if_asleep(to);
}

void Lanes::keep_rest(CoreId to) noexcept {
  Outgoing& out = outgoing_[to];
  // Relaxed: a peer that has left takes no messages, so a late read does no harm.
  if (matrix_.word(to).gone.load(std::memory_order_relaxed)) {
    out.queue.clear();
    out.sent = 0;
    return;
  }
  ++counters_.lane_full;
  // Drop the part that has left once it is the larger one, so that the queue's memory stays
  // bounded.
  if (out.sent > out.queue.size() / 2) {
    out.queue.erase(out.queue.begin(), out.queue.begin() + static_cast<std::ptrdiff_t>(out.sent));
    out.sent = 0;
  }
}

void Lanes::leave() noexcept {
  matrix_.word(self_).gone.store(true, std::memory_order_relaxed);
}

void Lanes::wake_if_asleep(CoreId to) noexcept {
  WakeWord& word = matrix_.word(to);
  // seq_cst: pairs with going_to_sleep() of the other core, see the head of lanes.hpp.
  if (word.sleeping.load(std::memory_order_seq_cst) == 0) return;
  // Only one of several senders signals. Acquire-release is not needed for the data (the lane
  // orders it); seq_cst keeps it in the one order with the stores of the sleeper.
  if (word.sleeping.exchange(0, std::memory_order_seq_cst) == 0) return;
  ++counters_.wakes;
  if (to < matrix_.cores()) {
    ring_.wake(word.wake_handle.load(std::memory_order_relaxed));
  } else {
    word.waker->wake();
  }
}

void Lanes::going_to_sleep() noexcept {
  // On both sides of the store, so that a look at the tails that went before it is seen, too.
  ring_.interleave();
  // seq_cst: comes before our look at the tails (anything_to_receive) in the one order.
  matrix_.word(self_).sleeping.store(1, std::memory_order_seq_cst);
  ring_.interleave();
}

void Lanes::awake() noexcept {
  // Relaxed: a sender that still reads 1 signals once too often, which is harmless.
  std::atomic<std::uint32_t>& sleeping = matrix_.word(self_).sleeping;
  if (sleeping.load(std::memory_order_relaxed) != 0) {
    sleeping.store(0, std::memory_order_relaxed);
  }
}

bool Lanes::anything_to_receive() noexcept {
  for (CoreId from = 0; from < peers_; ++from) {
    if (from != self_ && !matrix_.lane(from, self_).empty_seq_cst()) return true;
  }
  return !outgoing_[self_].queue.empty();
}

std::size_t Lanes::receive() noexcept {
  std::size_t delivered = 0;
  const CoreId peers = peers_;
  for (CoreId i = 0; i < peers && holders_ == 0; ++i) {
    const CoreId from = static_cast<CoreId>((first_ + i) % peers);
    delivered += from == self_ ? deliver_own() : receive_from(from);
  }
  first_ = static_cast<CoreId>((first_ + 1) % peers);
  own_is_left_ = holders_ != 0 && !outgoing_[self_].queue.empty();
  counters_.received += delivered;
  return delivered;
}

std::size_t Lanes::receive_from(CoreId from) noexcept {
  SpscRing<LaneMessage>& lane = matrix_.lane(from, self_);
  const std::size_t most = ring_.lane_batch(from, kBatchMax);
  std::size_t delivered = 0;
  while (delivered < most && holders_ == 0) {
    const std::span<LaneMessage> messages = lane.peek(most - delivered);
    if (messages.empty()) break;
    std::size_t taken = 0;
    while (taken < messages.size() && holders_ == 0) {
      LaneMessage& message = messages[taken++];
      message.deliver(message, from);
    }
    lane.consume(taken);
    delivered += taken;
  }
  return delivered;
}

std::size_t Lanes::deliver_own() noexcept {
  Outgoing& own = outgoing_[self_];
  const std::size_t begin = own.sent;
  const std::size_t end = own.queue.size();
  if (begin == end) return 0;
  // Messages that these messages send to their own core stay for the next turn.
  const std::uint64_t bytes = own.bytes;
  while (own.sent < end && holders_ == 0) {
    LaneMessage message = own.queue[own.sent++];
    message.deliver(message, self_);
  }
  const std::size_t delivered = own.sent - begin;
  if (own.sent == end) own.bytes_taken = bytes;
  // As in keep_rest(): each message is moved at most once.
  if (own.sent > own.queue.size() / 2) {
    own.queue.erase(own.queue.begin(), own.queue.begin() + static_cast<std::ptrdiff_t>(own.sent));
    own.sent = 0;
  }
  if (own.queue.empty()) {
    dirty_.erase(std::remove(dirty_.begin(), dirty_.end(), self_), dirty_.end());
  }
  return delivered;
}

}  // namespace corelane::runtime
