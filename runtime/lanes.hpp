#pragma once
// Lanes: messages between cores. One single-producer single-consumer ring for each ordered pair of
// cores, with a local queue in front, so that sending never fails, never blocks and never spins.
//
// A message is a trivially copyable struct of at most kLaneMessageBytes with a member
// `void deliver(CoreId from)`, which runs on the receiving core. Messages of one lane arrive in the
// order sent; there is no order between lanes. The messages of a turn leave at its end, in one
// batch a lane.
//
// Backpressure: congested() becomes true when a local queue is longer than kBacklogMax, or when the
// messages that one peer has not taken hold more than kBytesMax of memory. It stays true until half
// of that is left; until then the code that takes in new work (net's receive path) must pause. The
// own lane is empty after each turn, and counts only while it is held. Answers to messages are
// still accepted: the work that was let in bounds them. A message that holds memory gives its size
// by a member `std::size_t lane_bytes() const`.
//
// Threads that are no cores (runtime/foreign.hpp) have lanes to and from each core, too, under
// numbers behind those of the cores; they are connected when such a thread starts.
//
// Waking: a core that goes to sleep sets its wake word; a sender that finds the word set wakes
// it with Ring::wake. A running core is never signalled. (The two sides are Dekker's pattern:
// publish the tail, then read the word; store the word, then read the tail; all four sequentially
// consistent.)

#include <array>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <type_traits>
#include <vector>

#include "runtime/assert.hpp"
#include "runtime/cache_line.hpp"
#include "runtime/ring.hpp"
#include "runtime/spsc_ring.hpp"
#include "runtime/types.hpp"

namespace corelane::runtime {

inline constexpr std::size_t kLaneMessageBytes = 56;

struct alignas(8) LaneMessage {
  void (*deliver)(LaneMessage&, CoreId from) noexcept;
  std::byte body[kLaneMessageBytes];
};
static_assert(sizeof(LaneMessage) == kCacheLine, "a lane slot is one cache line");

template <class Body>
concept LaneMessageBody =
    std::is_trivially_copyable_v<Body> && sizeof(Body) <= kLaneMessageBytes && alignof(Body) <= 8 &&
    requires(Body& body, CoreId from) { body.deliver(from); };

template <LaneMessageBody Body>
LaneMessage make_lane_message(const Body& body) noexcept {
  LaneMessage message;
  message.deliver = [](LaneMessage& self, CoreId from) noexcept {
    Body copy;
    std::memcpy(static_cast<void*>(&copy), self.body, sizeof(Body));
    copy.deliver(from);
  };
  std::memcpy(message.body, static_cast<const void*>(&body), sizeof(Body));
  return message;
}

// How a thread that is no core is woken by one.
class ThreadWaker {
 public:
  virtual void wake() noexcept = 0;

 protected:
  ~ThreadWaker() = default;
};

// Per core or thread, written by it, read by the others.
struct alignas(kCacheLine) WakeWord {
  std::atomic<std::uint32_t> sleeping{0};
  std::atomic<std::int32_t> wake_handle{-1};  // of a core's ring, for other cores
  // The core or thread takes no more messages: messages that wait for room in a lane to it are
  // dropped.
  std::atomic<bool> gone{false};
  ThreadWaker* waker = nullptr;  // of a thread; set before its lanes are known to anybody
};

// All lanes of a runtime; made before the cores start and outlives them. Every core reads it in
// each turn, so it has lines of its own, and so have its pointers: in an ordinary block of memory
// they lay beside what one core writes in each turn.
class alignas(kCacheLine) LaneMatrix {
 public:
  // `threads`: most threads outside of the cores at once.
  LaneMatrix(CoreId cores, std::uint32_t slots, CoreId threads = 0);
  CoreId cores() const noexcept { return cores_; }
  CoreId peers_max() const noexcept { return peers_; }
  SpscRing<LaneMessage>& lane(CoreId from, CoreId to) noexcept { return *place(from, to); }
  WakeWord& word(CoreId peer) noexcept { return words_[peer]; }

  // The number of a thread, from cores() on, with lanes to and from all cores; kNoCore if there are
  // as many as there may be. On any core; cores learn of it by Lanes::know(). A number that was
  // given back is given out again.
  CoreId connect_thread(ThreadWaker& waker);
  // When the thread has ended and nothing is in its lanes.
  void disconnect_thread(CoreId thread) noexcept;

 private:
  using Lane = std::unique_ptr<SpscRing<LaneMessage>>;
  struct alignas(kCacheLine) LaneLine {
    static constexpr std::size_t kLanes = kCacheLine / sizeof(Lane);
    std::array<Lane, kLanes> lanes;
  };
  static_assert(sizeof(LaneLine) == kCacheLine);

  Lane& place(CoreId from, CoreId to) noexcept {
    const std::size_t index = std::size_t{from} * peers_ + to;
    return lines_[index / LaneLine::kLanes].lanes[index % LaneLine::kLanes];
  }

  CoreId cores_;
  CoreId peers_;  // cores, and threads at most
  std::uint32_t slots_;
  std::vector<LaneLine> lines_;  // from core 0 to all, from core 1 to all, ...
  std::unique_ptr<WakeWord[]> words_;
  // Which numbers of threads are taken. Threads may start on several cores at once.
  std::unique_ptr<std::atomic<bool>[]> taken_;
};

// One core's ends of the lanes. Belongs to that core.
class Lanes {
 public:
  static constexpr std::size_t kBacklogMax = 4096;  // messages waiting in front of one lane
  // Held by messages to one peer. A running core takes it in 1 to 4 ms (copies of 1 to 4 GB/s).
  static constexpr std::size_t kBytesMax = 4 * 1024 * 1024;
  static constexpr std::size_t kBatchMax = 256;  // messages taken from one lane in a turn

  Lanes(LaneMatrix& matrix, CoreId self, Ring& ring);

  // Leaves at the end of the turn. A message to the own core is delivered in the next turn.
  template <LaneMessageBody Body>
  void send(CoreId to, const Body& body) noexcept {
    push(to, make_lane_message(body));
    if constexpr (requires { body.lane_bytes(); }) {
      Outgoing& out = outgoing_[to];
      out.bytes += body.lane_bytes();
      if (out.bytes_waiting() > kBytesMax) [[unlikely]]
        note_heavy(to);
    }
  }
  // The same for one whose `deliver` the receiver does not call: a thread's request.
  void push(CoreId to, const LaneMessage& message) noexcept;

  // Threads have numbers below this now. Never fewer.
  void know(CoreId peers);
  // Messages to this peer that wait for room in its lane.
  std::size_t waiting_for(CoreId to) const noexcept {
    return outgoing_[to].queue.size() - outgoing_[to].sent;
  }

  bool congested() const noexcept { return congested_; }
  // See Core::hold_lanes(). A message may hold the lanes: the messages behind it wait.
  void hold(bool held) noexcept {
    RT_DEBUG_ASSERT(held || holders_ != 0);
    holders_ += held ? 1U : -1U;
  }
  // True if messages wait for room in a lane: the core must not sleep for long.
  bool backlogged() const noexcept { return backlog_total_ != 0; }
  // No message waits for room or in the own lane, and the lanes are not held.
  bool at_rest() const noexcept {
    return backlog_total_ == 0 && holders_ == 0 && outgoing_[self_].queue.empty();
  }

  // --- For the loop
  std::size_t receive() noexcept;       // delivers what has come, bounded
  void flush() noexcept;                // publishes what was sent, wakes sleepers
  void going_to_sleep() noexcept;       // stores the wake word
  void awake() noexcept;                // clears it
  bool anything_to_receive() noexcept;  // sequentially consistent look at all tails
  void leave() noexcept;                // this core takes nothing any more

  struct Counters {
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
    std::uint64_t wakes = 0;      // sleeping peers signalled
    std::uint64_t lane_full = 0;  // turns in which a lane had no room for all
    std::uint64_t heavy = 0;      // times that kBytesMax was reached
  };
  const Counters& counters() const noexcept { return counters_; }

 private:
  // `bytes` is a running total and never falls. A peer that has consumed the ring up to the mark
  // has taken `bytes_marked`; then the mark moves to the end. So the peer's index is read only
  // while many bytes seem to wait. bytes_waiting() may be too high by the bytes that the peer has
  // taken beyond the mark.
  struct Outgoing {
    std::vector<LaneMessage> queue;  // [sent, size) waits for room
    std::size_t sent = 0;
    std::uint64_t bytes = 0;
    std::uint64_t bytes_taken = 0;
    std::uint64_t bytes_marked = 0;
    std::uint64_t mark = 0;  // count of messages
    std::uint64_t bytes_waiting() const noexcept { return bytes - bytes_taken; }
  };
  std::uint64_t weigh(CoreId to) noexcept;
  [[gnu::cold, gnu::noinline]] void note_heavy(CoreId to) noexcept;
  [[gnu::cold, gnu::noinline]] bool is_any_heavy() noexcept;
  void flush_to(CoreId to) noexcept;
  void keep_rest(CoreId to) noexcept;
  void wake_if_asleep(CoreId to) noexcept;
  std::size_t receive_from(CoreId from) noexcept;
  std::size_t deliver_own() noexcept;
  // The next turn may not take all messages of the own lane: it is held, or was held this turn.
  bool own_waits() const noexcept { return holders_ != 0 || own_is_left_; }

  LaneMatrix& matrix_;
  Ring& ring_;
  CoreId self_;
  CoreId peers_;  // that this core knows: all cores, and threads
  bool congested_ = false;
  bool is_long_ = false;       // congested by messages
  bool is_heavy_ = false;      // by bytes
  CoreId first_ = 0;           // the sender whose lane comes first: rotates, so that none starves
  std::uint32_t holders_ = 0;  // holds of hold(); not 0: no messages are taken
  bool own_is_left_ = false;
  std::size_t backlog_total_ = 0;
  std::vector<Outgoing> outgoing_;
  std::vector<CoreId> dirty_;
  Counters counters_;
};

}  // namespace corelane::runtime
