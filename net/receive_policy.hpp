#pragma once
// ReceivePolicy: how one stream waits for bytes: with which operation, into buffers of which size,
// and when it rests. It does no I/O: Network (receiving.cpp, discarding.cpp) begins what it says
// and tells it what came. One a stream, 2 bytes.
//
// Wait: what the stream waits with.
//
//            paused, holds bytes, ended
//         +-----------------------------+
//         v                             |
//    +---------+     awake        +---------+   found no buffer   +--------+
//    | nothing |----------------->| receive |-------------------->| buffer |
//    +---------+                  +---------+<--------------------+--------+
//         | rests, or discards         ^       one came home, or small ones will do
//         v                            |
//    +---------+   something has come  |
//    |  poll   |-----------------------+
//    +---------+
//
//    receive and poll are in flight, and end by a completion, also when asked to (begin_end).
//
// Activity: what the looks for idle streams make of it (an armed receive holds 860 bytes in the
// kernel, a poll 300). A stream that is silent from one look to the next rests, and one that
// receives twice between two looks is awake. A new one is busy, so one that comes and goes never
// rests.
//
//             look            look, nothing armed: stays
//    busy ----------> quiet ---------------------------> resting <-----.
//     ^  ^              |            look                   | receives | look
//     |  '--------------'                                   v          |
//     |      receives                                    stirred ------'
//     '------------------------------------------------------'
//                             receives
//
// BufferSize: small <-> medium <-> large, by votes: a receive that fills its buffer is 2 votes for
// the next larger size, one that a smaller buffer would have held 2 for that, and any other takes
// one back. From each of them to `discard`, which stays.

#include <array>
#include <cstddef>
#include <cstdint>

#include "runtime/assert.hpp"

namespace corelane::net {

// Small buffers serve many streams and stay in the cache; a stream in the middle of something large
// fills one after the other, and each costs a completion and a join. `discard`: medium ones, after
// Stream::discard_input().
enum class BufferSize : std::uint8_t { small, medium, large, discard };
inline constexpr std::size_t kBufferSizes = 4;

// The core's receive buffers by size. Where there are none of a size, its row is that of the next
// smaller one. Groups ascend but for the last.
struct ReceiveBuffers {
  std::array<std::uint16_t, kBufferSizes> groups{};
  std::array<std::uint32_t, kBufferSizes> bytes{};

  std::uint16_t group_of(BufferSize size) const noexcept {
    return groups[static_cast<std::size_t>(size)];
  }
  std::uint32_t bytes_of(BufferSize size) const noexcept {
    return bytes[static_cast<std::size_t>(size)];
  }
  // The next size with buffers of its own; the same if there is none.
  BufferSize larger(BufferSize size) const noexcept;
  BufferSize smaller(BufferSize size) const noexcept;
};

class ReceivePolicy {
 public:
  enum class Wait : std::uint8_t { nothing, buffer, receive, poll };
  enum class Activity : std::uint8_t { busy, quiet, resting, stirred };

  // --- What it waits with
  Wait wait() const noexcept { return wait_; }
  bool in_flight() const noexcept { return wait_ >= Wait::receive; }
  bool wants_buffer() const noexcept { return wait_ == Wait::buffer; }
  void begin_receive() noexcept {
    RT_DEBUG_ASSERT(!in_flight());
    wait_ = Wait::receive;
    size_ = next_size_;
  }
  void begin_poll() noexcept {
    RT_DEBUG_ASSERT(!in_flight());
    wait_ = Wait::poll;
  }
  // The operation in flight has completed.
  void end() noexcept {
    RT_DEBUG_ASSERT(in_flight());
    wait_ = Wait::nothing;
    is_ending_ = false;
  }
  // True: the operation in flight is to be cancelled. Once each.
  bool begin_end() noexcept {
    if (!in_flight() || is_ending_) return false;
    is_ending_ = true;
    return true;
  }
  void want_buffer() noexcept {
    RT_DEBUG_ASSERT(wait_ == Wait::nothing);
    wait_ = Wait::buffer;
  }
  // The stream left the list of those without a buffer.
  void leave_buffers() noexcept {
    if (wants_buffer()) wait_ = Wait::nothing;
  }

  // --- Into which buffers
  // The size of the operation in flight, or of the last.
  BufferSize size() const noexcept { return size_; }
  BufferSize next_size() const noexcept { return next_size_; }
  bool discards() const noexcept { return next_size_ == BufferSize::discard; }
  // Does not cancel the operation in flight; it completes with the next input, if any comes.
  void discard() noexcept { next_size_ = BufferSize::discard; }
  void go_small() noexcept {
    if (!discards()) next_size_ = BufferSize::small;
    votes_ = kNoVotes;
  }
  // `bytes` came where `room` was. True: the next receive has another size, so the one in flight is
  // to end. `may_grow_large`: no stream waits in vain for a large buffer.
  bool vote(std::uint32_t bytes, std::uint32_t room, const ReceiveBuffers& buffers,
            bool may_grow_large) noexcept {
    if (size_ == BufferSize::small && bytes < room && votes_ == kNoVotes) return false;
    return count_vote(bytes, room, buffers, may_grow_large);
  }

  // --- Whether it rests
  Activity activity() const noexcept { return activity_; }
  bool rests() const noexcept { return activity_ >= Activity::resting; }
  // True: the first receive since the last look, so that there must be another.
  bool note_received() noexcept {
    if (activity_ == Activity::busy) return false;
    const bool is_first = activity_ != Activity::stirred;
    activity_ = activity_ == Activity::resting ? Activity::stirred : Activity::busy;
    return is_first;
  }
  // A look for idle streams. False: it was not busy. What is armed at length is to end if it begins
  // to rest now.
  bool look() noexcept {
    const bool was_active = activity_ == Activity::busy || activity_ == Activity::stirred;
    if (activity_ == Activity::busy) {
      activity_ = Activity::quiet;
    } else if (rests() || in_flight()) {
      activity_ = Activity::resting;
    }
    return was_active;
  }
  void rest() noexcept {
    if (!rests()) activity_ = is_busy() ? Activity::stirred : Activity::resting;
  }
  void wake() noexcept {
    if (rests()) activity_ = activity_ == Activity::stirred ? Activity::busy : Activity::quiet;
  }

  // --- Whether it waits for its turn: it has something, but the core takes in nothing now
  bool waits_for_turn() const noexcept { return waits_for_turn_; }
  void set_waits_for_turn(bool waits) noexcept { waits_for_turn_ = waits; }

 private:
  static constexpr int kVotesMax = 16;

  bool is_busy() const noexcept { return activity_ == Activity::busy; }
  bool count_vote(std::uint32_t bytes, std::uint32_t room, const ReceiveBuffers& buffers,
                  bool may_grow_large) noexcept;

  // For a larger size above kNoVotes, for a smaller one below. (g++ 12 has no signed bit-field that
  // is assigned without -Wconversion.)
  static constexpr std::uint8_t kNoVotes = 16;
  std::uint8_t votes_ : 6 = kNoVotes;
  BufferSize size_ : 2 = BufferSize::small;
  BufferSize next_size_ : 2 = BufferSize::small;
  Wait wait_ : 2 = Wait::nothing;
  bool is_ending_ : 1 = false;
  Activity activity_ : 2 = Activity::busy;
  bool waits_for_turn_ : 1 = false;  // in the list of those that do
};
static_assert(sizeof(ReceivePolicy) == 2);

}  // namespace corelane::net
