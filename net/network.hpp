#pragma once
// Network: all sockets of one core: listeners, streams, the receive buffers and send queues they
// share, and the sending of everything that a turn has produced. One a core, made and destroyed
// there (runtime::Sharded<Network>); everything on a core that has sockets shares it
// (Network::local()).
//
// The path of bytes: completion (Sink::receive) -> Network::on_receive -> StreamHandler::on_data ->
// ... -> Stream::send_* -> dirty list -> Network::flush at the end of the turn -> one send
// operation a stream -> completion (Sink::send) -> the pieces go back to their owners.

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

#include "net/memory_holders.hpp"
#include "net/send_queue.hpp"
#include "net/stream.hpp"
#include "runtime/address.hpp"
#include "runtime/buffer_pool.hpp"
#include "runtime/coarse_timer.hpp"
#include "runtime/core.hpp"
#include "runtime/slab.hpp"
#include "runtime/task.hpp"
#include "runtime/timer_heap.hpp"
#include "runtime/wait_queue.hpp"

namespace corelane::net {

// The host does not let a network have its receive buffers.
class BuffersRefused : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The core has a network already, and it is in use: share it, by Network::local().
class NetworkExists : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

struct NetworkOptions {
  // Small buffers take most receives: as many as can be ready at once, together within L2.
  std::uint32_t receive_buffer_bytes = 4096;
  std::uint32_t receive_buffers = 512;
  // A stream that keeps filling small buffers receives into medium ones: fewer messages are cut and
  // joined, and there are more of these than of large ones (64 connections, 16 messages deep,
  // against small and large ones only: 300 B 12 % less CPU, 1 KiB 5 %; 16 KiB one at a time 10 %,
  // where more than half of all receives found no large buffer). While one submission sends what a
  // turn has received it receives for the next, 40 streams and more each. (64 of them: three of ten
  // receives of 1 KiB messages find none and are armed again, and one of 14 messages is copied
  // because buffers are scarce. 128: none, and 300 B costs 5 % less.)
  std::uint32_t medium_buffer_bytes = 32 * 1024;
  std::uint32_t medium_buffers = 128;  // 0: none
  // A stream that keeps filling medium buffers receives into one of a few large ones: so few that
  // the bytes are handled, or sent, while they are in L2. Streams wait for a large buffer in turn.
  // (Echo of 16 KiB, 64 connections, 16 messages deep, against raw epoll, best of rounds: 8 of
  // 256 KiB 1.55 times, 4 of these 1.33 to 1.52; 320 KiB hold all 16 messages with their headers,
  // so fewer are cut in two: 1.37 to 1.39 where 256 KiB have 1.52. Smaller ones lose everywhere; 2
  // win on a quiet machine, 1.28, and lose on a busy one, 1.85.)
  std::uint32_t large_buffer_bytes = 320 * 1024;
  std::uint32_t large_buffers = 4;  // 0: none
  // A stream's outgoing queue. Shared memory (Stream::send_shared) may fill it up to kBurst times
  // the limit, until no send has completed for burst_patience: a few large messages at once, or a
  // peer that is descheduled for a while, do not make a slow reader. Such a queue holds handles;
  // all queues share the memory.
  //
  // The patience outlasts a CPU quota's period (100 ms), a collector's pause, and an overloaded
  // machine: 30 subscribers with 6 MB each on their way, on one CPU together with the server and a
  // compiler, were descheduled for 250 ms in one of three runs.
  std::size_t queued_bytes_max = 1024 * 1024;
  static constexpr std::size_t kBurst = 8;
  runtime::Nanoseconds burst_patience = 1 * runtime::kSecond;
  // While a core keeps more shared memory than this, in queues or elsewhere, no stream passes its
  // limit. Bound per core: this, plus one turn's input, plus `queued_bytes_max` for each stream.
  std::size_t shared_bytes_max = 128 * 1024 * 1024;
  // Most bytes that a flush hands to the kernel; each stream counts kStreamBytes beside its bytes.
  // Over loopback 5 ms in sends of 600 kB, 12 ms in sends of 75 kB, 35 ms in 5,000 sends of 2.6 kB
  // (medians; the longest turn took 82). The next turns send the rest. They take no input from the
  // network and the lanes until all of it has left. (8 MiB: a fan-out with 1,024 publishes in
  // flight costs 5 % more.)
  static constexpr std::size_t kTurnBytesMax = 32 * 1024 * 1024;
  static constexpr std::size_t kStreamBytes = 4096;  // a send costs 3 us and more, a MiB 150 to 400
  // Streams of this core, accepted and connected. Further connections wait in the backlog until one
  // ends. A smaller table of direct descriptors (RingOptions) bounds the connections in its place.
  std::uint32_t streams_max = 1'000'000;
  // A stream has stalled when its peer has taken no queued byte for this long (up to a quarter
  // longer): StreamHandler::on_stalled, or its end. 0: never.
  runtime::Nanoseconds write_stall_timeout = 30 * runtime::kSecond;
  // Most input of a peer that is read and thrown away after our last bytes to it. A peer that sends
  // more fills the kernel's buffers, may never read our last bytes, and is cut off at the deadline
  // of its close.
  std::uint32_t discard_bytes_max = 16 * 1024 * 1024;
  bool direct_descriptors = true;  // for accepted streams, if the ring has a table for them
};

// What a listener does with a new stream: set its handler. Returning false closes it at once.
using AcceptFunction = bool (*)(void* context, Stream& stream) noexcept;

struct ListenerId {
  std::uint32_t index = UINT32_MAX;
  std::uint32_t generation = 0;
};

class PeerLog;
class TcpInput;

class Network {
 public:
  // Throws NetworkExists, or BuffersRefused. One that local() has made, and that is not in use, is
  // destroyed first.
  explicit Network(const NetworkOptions& options);
  ~Network();
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  // The network of this core. If there is none it is made with `options`, and belongs to the core:
  // when the core stops its streams are aborted, but for those that are closing, which have
  // their deadlines, and no more are accepted or connected. The reference is good while the network
  // is in use: while it has a stream, a listener or a SharedNetwork. Throws BuffersRefused.
  static Network& local(const NetworkOptions& options = {});
  static Network* local_or_null() noexcept;

  // Listens and accepts from the next turn on. Errors: errnos of socket(2), bind(2), listen(2);
  // closed, when the core or the network ends.
  runtime::Result<ListenerId> listen(const runtime::Address& address,
                                     const runtime::ListenOptions& options, AcceptFunction accept,
                                     void* context);
  // Error: closed.
  runtime::Result<runtime::Address> address_of(ListenerId listener);
  // Stops accepting on all listeners and closes them; streams stay. Suspends until they are closed:
  // until then a few more may be accepted, which get their streams.
  runtime::Task<void> stop_listening();
  // The same for one of them. Its accept function is not called any more: what is accepted until
  // the listener is closed is refused.
  runtime::Task<void> stop_listening(ListenerId listener);
  // The same without waiting.
  void begin_stop_listening(ListenerId listener) noexcept;
  // Called with the accept function's context when the listener is closed by stop_listening() of
  // all, or because the core stops.
  using ListenEnded = void (*)(void* context) noexcept;
  void set_listen_ended(ListenerId listener, ListenEnded function) noexcept;
  // Further connections wait in the backlog. At most kAccepts more are accepted.
  void pause_accepting(ListenerId listener) noexcept;
  void resume_accepting(ListenerId listener) noexcept;
  // Accepts in flight on each listener while enough places are free: the bound of the connections
  // that a listener takes in a turn. An accept costs the kernel 0.4 kB. A burst of connections is
  // served at kAccepts connections a turn.
  static constexpr std::uint32_t kAccepts = 32;

  // A client's stream; the handler is called from then on. `source`, if any, is the address that it
  // connects from (its port 0: any), for clients that need more connections than one address has
  // ports. Errors: errnos of connect(2) and bind(2), cancelled, limit_exceeded
  // (NetworkOptions::streams_max), closed (when the core or the network ends).
  runtime::Task<runtime::Result<StreamId>> connect(runtime::Address address,
                                                   const StreamHandler& handler, void* owner,
                                                   const runtime::Address* source = nullptr);

  Stream* find(StreamId id) noexcept { return streams_.get({id.slot, id.generation}); }
  std::uint32_t stream_count() const noexcept { return streams_.count(); }
  template <class Visit>
  void for_each(Visit&& visit) {
    streams_.for_each(std::forward<Visit>(visit));
  }
  // Aborts every stream and waits until all are gone: no more are accepted or connected. Before
  // destruction.
  runtime::Task<void> shutdown();
  // No stream, listener, attempt to connect, wait for an end, or line about a peer is left.
  bool at_rest() const noexcept;

  // For list() over all streams in several steps: slots 0 to stream_slots() - 1.
  std::uint32_t stream_slots() const noexcept { return streams_.slots(); }
  // Adds the streams in slots `from` to `to` - 1 that hold memory.
  void list(MemoryHolders& holders, std::uint32_t from, std::uint32_t to);
  // Ends the holder's stream, unless it now holds less than half of `holder.bytes`. Returns the
  // bytes that only this stream held; nothing: it was not ended.
  std::optional<std::size_t> end_holder(const MemoryHolders::Holder& holder, MemoryOver over);

  // Called for each stream that is gone, after its on_closed, however often its handler changed:
  // for counting streams. One observer at a time.
  using GoneFunction = void (*)(void* context, StreamId stream) noexcept;
  void set_gone_observer(GoneFunction function, void* context) noexcept {
    gone_ = function;
    gone_context_ = context;
  }

  runtime::Core& core() noexcept { return core_; }
  // For the input of a stream that has ended: TcpInput::outlive_stream().
  void keep_viewed(TcpInput& input);
  PeerLog& peer_log() noexcept { return *peer_log_; }  // net/peer_log.hpp
  const NetworkOptions& options() const noexcept { return options_; }

  struct Counters {
    std::uint64_t accepted = 0;
    std::uint64_t refused = 0;  // the accept function said no
    std::uint64_t closed = 0;
    std::uint64_t accept_pauses = 0;  // out of descriptors, or of streams
    std::uint64_t bytes_received = 0;
    std::uint64_t bytes_discarded = 0;  // of the bytes received: after our last word
    std::uint64_t bytes_sent = 0;
    std::uint64_t receives = 0;         // operations
    std::uint64_t polls = 0;            // operations: waits of idle streams
    std::uint64_t sends = 0;            // operations
    std::uint64_t flushes_cut = 0;      // turns whose sends were more than kTurnBytesMax
    std::uint64_t buffers_missing = 0;  // receives that found no buffer
    std::uint64_t slow_readers = 0;     // streams that stalled (write_stall_timeout)
    std::uint64_t memory_short = 0;     // ended while the core held too much memory
  };
  const Counters& counters() const noexcept { return counters_; }

 private:
  friend class Stream;
  friend class SharedNetwork;

  struct Listener {
    runtime::Descriptor descriptor;
    AcceptFunction accept;
    void* context;
    std::uint32_t armed = 0;  // accepts in flight
    std::uint32_t generation = 0;
    bool stopped = false;
    bool ending = false;  // they were asked to end; none is armed until they have
    bool failed = false;  // the last one, by want of something
    bool paused = false;
    ListenEnded ended = nullptr;
  };
  // A coroutine that waits for the end of listeners or streams uses the network.
  struct EndingWait {
    explicit EndingWait(Network& of_network) noexcept : network(of_network) {
      ++network.ending_waits_;
    }
    EndingWait(const EndingWait&) = delete;
    EndingWait& operator=(const EndingWait&) = delete;
    ~EndingWait() { --network.ending_waits_; }
    Network& network;
  };
  class OfCore;  // what local() makes
  static constexpr std::uint32_t kNoStream = UINT32_MAX;
  struct TimerLinks {
    Network* network;
    runtime::CoarseLink& operator()(std::uint32_t slot) const noexcept;
  };
  struct OwnTimer : runtime::Timer {
    OwnTimer(Network& owner, Fire fire_function) noexcept : Timer(fire_function), network(owner) {}
    Network& network;
  };

  static runtime::Core& claim_core();
  bool is_in_use() const noexcept;
  void begin_stop() noexcept;

  Listener* listener_of(ListenerId id) noexcept;
  void stop_listener(std::uint32_t index) noexcept;
  void end_listener(std::uint32_t index) noexcept;
  std::uint32_t places() const noexcept;
  std::uint32_t accepts_kept() const noexcept;
  void note_places() noexcept;
  bool arm_accepts(std::uint32_t index) noexcept;
  void arm_accept(std::uint32_t index) noexcept;
  void end_accepts(std::uint32_t index) noexcept;
  void on_accept(const runtime::Completion& completion) noexcept;
  void take(Listener& listener, runtime::Descriptor descriptor) noexcept;
  void refuse(runtime::Descriptor descriptor) noexcept;
  void on_refused() noexcept;
  void note_pause() noexcept;
  [[gnu::cold]] bool is_to_be_told(runtime::Nanoseconds& told_at) const noexcept;
  [[gnu::cold]] void log_accept_failure(int error);
  [[gnu::cold]] void log_no_place();
  void resume_accepting() noexcept;
  Stream* make_stream(runtime::Descriptor descriptor);

  void set_buffers(std::size_t size, std::uint16_t group);
  // `is_ready`: a poll has just seen something to receive.
  void arm_receive(Stream& stream, bool is_ready = false) noexcept;
  std::uint32_t most_bytes(const Stream& stream) const noexcept;
  void keep_looking() noexcept;
  [[gnu::cold, gnu::noinline]] void start_idle_look() noexcept;
  void look_for_idle() noexcept;
  void cancel_receive(Stream& stream) noexcept;
  void on_receive(const runtime::Completion& completion) noexcept;
  void on_bytes(Stream& stream, runtime::BufferId buffer, std::uint32_t bytes) noexcept;
  void deliver(Stream& stream, runtime::BufferId buffer, std::uint32_t bytes) noexcept;
  void on_receive_ended(Stream& stream, std::int32_t result, bool is_ready) noexcept;
  [[gnu::cold, gnu::noinline]] void arm_discard(Stream& stream, bool is_ready) noexcept;
  [[gnu::cold, gnu::noinline]] void discard(Stream& stream, runtime::BufferId buffer,
                                            std::uint32_t bytes) noexcept;
  [[gnu::cold, gnu::noinline]] void discard_next() noexcept;
  bool has_discarded_enough(const Stream& stream) const noexcept {
    return stream.receiving_.discards() && stream.receive_bytes_ > options_.discard_bytes_max;
  }
  void starve(Stream& stream) noexcept;
  void hold(Stream& stream, runtime::BufferId buffer, std::uint32_t bytes) noexcept;
  void deliver_held(Stream& stream) noexcept;
  void deliver_held_up() noexcept;
  void await_turn(Stream& stream) noexcept;
  HeldPiece* take_held(Stream& stream) noexcept;
  void drop_held(Stream& stream) noexcept;
  void deliver_end(Stream& stream) noexcept;
  void feed_starved() noexcept;
  void feed_one(BufferSize size) noexcept;
  void await_buffers() noexcept;
  void go_small(Stream& stream) noexcept;
  void on_large_wait() noexcept;
  std::uint16_t group_of(BufferSize size) const noexcept { return receive_buffers_.group_of(size); }
  std::deque<StreamId>& starved(BufferSize size) noexcept {
    return starved_[static_cast<std::size_t>(size)];
  }
  bool has_room(BufferSize size) const noexcept {
    return buffers_.out(group_of(size)) < buffers_.count(group_of(size));
  }
  // True if so few buffers are left that none may wait for a slow reader. Never true for large
  // buffers: a stream that finds none goes on with small ones.
  bool is_needed(std::uint16_t group) const noexcept {
    return group <= group_of(BufferSize::medium) && buffers_.scarce(group);
  }

  void flush() noexcept;
  void leave_dirty(std::span<const std::uint32_t> rest);
  void set_backlogged(bool backlogged) noexcept;
  // Input must wait: it is held, and no more is received.
  bool input_waits() const noexcept { return backlogged_ || core_.lanes().congested(); }
  void flush_stream(Stream& stream) noexcept;
  void send_end(Stream& stream) noexcept;
  void begin_send(Stream& stream, SendQueue& queue) noexcept;
  [[gnu::noinline]] void begin_send_of_several(Stream& stream, SendQueue& queue) noexcept;
  [[gnu::noinline]] void begin_transformed_send(Stream& stream, SendQueue& queue) noexcept;
  void on_sends(std::span<const runtime::Completion> row) noexcept;
  void on_send(Stream& stream, std::int32_t result, std::size_t sent) noexcept;
  void set_transform(Stream& stream, SendTransform* transform);
  SendQueue& take_queue(Stream& stream);
  void give_queue(Stream& stream) noexcept;
  [[gnu::cold, gnu::noinline]] void start_stall_look() noexcept;
  HeldMemory held_by(const Stream& stream, MemoryOver over) const noexcept;
  static std::size_t held_back_bytes(const Stream& stream) noexcept;
  [[gnu::cold, gnu::noinline]] void make_dirty_room();
  void look_for_stalls() noexcept;
  void on_stall(Stream& stream) noexcept;
  void on_close(const runtime::Completion& completion) noexcept;
  void on_shutdown(const runtime::Completion& completion) noexcept;
  void begin_closing(Stream& stream) noexcept;
  void close_if_idle(Stream& stream) noexcept;

  void set_timer(Stream& stream, runtime::Nanoseconds after) noexcept;
  void cancel_timer(Stream& stream) noexcept;
  void queue_tick() noexcept;
  void on_tick() noexcept;
  runtime::Token token(runtime::Sink sink, const Stream& stream) const noexcept;

  NetworkOptions options_;
  runtime::Core& core_;
  runtime::BufferPool buffers_;
  SendPool send_pool_;
  ReceiveBuffers receive_buffers_;
  runtime::Slab<Stream, 24> streams_;       // as many bits as a ring token carries
  std::vector<SendTransform*> transforms_;  // by slot, of streams that have one
  std::deque<Listener> listeners_;          // an accept function may call listen()
  std::uint32_t direct_table_ = 0;          // slots for direct descriptors in the ring
  std::uint32_t direct_used_ = 0;           // of these, by what was accepted
  std::uint32_t accepts_armed_ = 0;         // of all listeners: places that are kept
  std::uint32_t refusing_ = 0;              // accepted, without a stream, being closed
  std::uint32_t connecting_ = 0;
  std::uint32_t ending_waits_ = 0;  // coroutines inside stop_listening() and shutdown()
  bool stopping_ = false;           // takes no new streams and listeners
  std::uint32_t first_to_accept_ = 0;
  runtime::Nanoseconds failure_told_at_ = 0;  // 0: never
  runtime::Nanoseconds no_place_told_at_ = 0;
  bool few_places_ = false;
  bool accept_paused_ = false;
  // Slots of dirty streams; a slot whose stream is no longer dirty is skipped. dirty_count_ of
  // dirty_room_ entries are in use. The room is 0 at first, so that the first entry requests the
  // flush. push_back() would inline its growth into every function that sends.
  std::vector<std::uint32_t> dirty_;
  std::size_t dirty_count_ = 0;
  std::size_t dirty_room_ = 0;
  std::vector<std::uint32_t> flushing_;
  bool backlogged_ = false;  // the last flush has left dirty streams
  std::uint64_t flushed_turn_ = 0;
  std::size_t turn_bytes_ = 0;  // handed over in that turn
  // Streams without a buffer of their size, the longest waiting first.
  std::array<std::deque<StreamId>, kBufferSizes> starved_;
  bool large_stuck_ = false;      // no large buffer has come home for kLargeWait
  std::deque<StreamId> held_up_;  // hold bytes received while input_waits()
  std::uint32_t discards_armed_ = 0;
  std::deque<StreamId> discards_waiting_;  // have something to discard, the longest waiting first
  runtime::WaitQueue listeners_closed_;
  runtime::WaitQueue streams_gone_;
  runtime::CoarseTimer<TimerLinks> coarse_;
  OwnTimer tick_;
  bool tick_is_late_ = false;  // this core was descheduled when it was due
  OwnTimer accept_retry_;
  OwnTimer held_retry_;
  OwnTimer large_wait_;
  OwnTimer stall_look_;
  OwnTimer flush_rest_;
  OwnTimer idle_look_;               // queued while any stream does not rest
  std::size_t stalls_unlooked_ = 0;  // queues in use that this look has not come to
  std::uint32_t idle_looked_ = 0;    // slots that this look has come past
  bool any_busy_ = false;            // there will be another look
  runtime::Core::FlushHook flush_hook_;
  std::unique_ptr<PeerLog> peer_log_;
  TcpInput* viewed_ = nullptr;  // inputs of ended streams whose views lie in buffers
  GoneFunction gone_ = nullptr;
  void* gone_context_ = nullptr;
  const runtime::CoreResident* resident_ = nullptr;  // if it belongs to the core
  std::uint32_t shares_ = 0;                         // SharedNetworks
  Counters counters_;
};

// A share of the core's network, for libraries of clients and servers: all of them use the one
// network that the core has, and it stays at least as long as this object. On its core.
class SharedNetwork {
 public:
  // `options` count if the core has no network yet. Throws BuffersRefused.
  explicit SharedNetwork(const NetworkOptions& options = {}) : network_(Network::local(options)) {
    ++network_.shares_;
  }
  ~SharedNetwork() { --network_.shares_; }
  SharedNetwork(const SharedNetwork&) = delete;
  SharedNetwork& operator=(const SharedNetwork&) = delete;

  Network& operator*() const noexcept { return network_; }
  Network* operator->() const noexcept { return &network_; }

 private:
  Network& network_;
};

inline SendQueue& Network::take_queue(Stream& stream) {
  stream.queue_ = send_pool_.take_queue(stream.id_.slot, core_.now());
  if (!stall_look_.queued()) start_stall_look();
  return *stream.queue_;
}

inline void Network::give_queue(Stream& stream) noexcept {
  send_pool_.give_queue(std::exchange(stream.queue_, nullptr));
}

inline void Stream::mark_dirty() noexcept {
  if (dirty_) return;
  dirty_ = true;
  Network& network = network_;
  if (network.dirty_count_ == network.dirty_room_) network.make_dirty_room();
  network.dirty_[network.dirty_count_++] = id_.slot;
}

}  // namespace corelane::net
