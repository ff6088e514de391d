#pragma once
// Kernel: the simulated one of a World. It carries out the operations that rings hand over, as
// events in virtual time: each operation takes a step after a random delay; a step completes it,
// or finds nothing to do and parks it until what it waits for happens. So completions of different
// operations come in any order, while the bytes of one stream stay in order.
//
// Belongs to the World; nothing outside runtime/sim uses it. Its parts: kernel.cpp (rings, events,
// descriptors), kernel_operations.cpp (from the handing over to the completion, cancel),
// kernel_connections.cpp (listen, connect, accept, close, reset), kernel_streams.cpp (send,
// receive, shutdown), kernel_datagrams.cpp, kernel_files.cpp (files and outside descriptors).

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "runtime/ring.hpp"
#include "runtime/sim/objects.hpp"
#include "runtime/sim/ring_state.hpp"
#include "runtime/types.hpp"

namespace corelane::runtime::sim {

class World;

class Kernel {
 public:
  // Numbers below are descriptors of the real process, for instance a signalfd.
  static constexpr std::int32_t kFirstDescriptor = 10'000;

  explicit Kernel(World& world);
  ~Kernel();
  Kernel(const Kernel&) = delete;
  Kernel& operator=(const Kernel&) = delete;

  // --- Rings
  void add_ring(RingState& ring);
  void remove_ring(RingState& ring);               // forgets its operations without completing them
  RingState* ring_of(CoreId core) const noexcept;  // the newest of that core; null: none
  const std::vector<RingState*>& rings() const noexcept { return rings_; }
  void submit(RingState& ring);

  // --- Events
  // For threads outside of the cores: wakes a ring; calls `function`, outside of all turns, after
  // the time that an operation takes.
  void ring_bell(std::uint64_t ring_index);
  void call_later(std::function<void()> function) { call_after(step_delay(), std::move(function)); }
  void call_after(Nanoseconds delay, std::function<void()> function);
  Nanoseconds next_event() const noexcept { return events_.empty() ? kNever : events_.front().due; }
  void run_due();

  // --- At once
  Result<Descriptor> listen(const Address& address, const ListenOptions& options);
  Result<Descriptor> open_socket(int family);
  Result<Descriptor> open_datagram(const Address& address, const DatagramOptions& options);
  Result<void> connect_datagram(RingState& ring, Descriptor socket, const Address& peer);
  Result<Address> local_address(RingState& ring, Descriptor socket);
  Result<Address> peer_address(RingState& ring, Descriptor socket);
  Result<Address> peer_name(RingState& ring, Descriptor socket);
  void read_peer_address(RingState& ring, const Operation& request);
  Result<std::size_t> read_directory(Descriptor directory, std::span<std::byte> into);
  void close_now(RingState& ring, Descriptor descriptor);
  // On a thread that runs as no core. Of the simulation: not outside().
  void close_outside(Descriptor descriptor);
  // A descriptor of the real process.
  static bool outside(Descriptor descriptor) noexcept {
    return !descriptor.direct && descriptor.number >= 0 && descriptor.number < kFirstDescriptor;
  }
  // Fails the run unless the program may use it; marks it closed if `closes`.
  void check_open(RingState& ring, Descriptor descriptor, OperationKind kind);
  void outside_ready(std::int32_t descriptor);

  // --- For reports
  std::size_t operations_in_flight() const noexcept { return operations_.size() - free_.size(); }
  // True while operations with Sink::ignore are in flight.
  bool ignored_in_flight() const noexcept;
  std::string name_of_object(ObjectId id) const;  // "stream 3"
  std::string addresses_of(ObjectId id) const;    // of a connected stream; of others empty
  std::string describe_operations(std::size_t most) const;
  std::string describe_descriptors(std::size_t most) const;

 private:
  enum class EventKind : std::uint8_t { step, cancel, arrival, reset, wake, bell, call };
  struct Event {
    Nanoseconds due;
    std::uint64_t sequence;  // equal times in order of making
    EventKind kind;
    std::uint64_t id;  // of the operation, stream or ring
  };
  static bool later(const Event& left, const Event& right) noexcept {
    return left.due != right.due ? left.due > right.due : left.sequence > right.sequence;
  }
  void add_event(Nanoseconds due, EventKind kind, std::uint64_t id);
  void run(const Event& event);

  // Operations.
  Operation* find_operation(OperationId id) noexcept;
  void take_over(RingState& ring, const Operation& prepared);
  void claim(const Operation& operation);
  void schedule(Operation& operation, Nanoseconds delay);
  void wake(OperationId id, Nanoseconds delay);
  Nanoseconds step_delay();
  void step(Operation& operation);
  void step_close(Operation& operation);
  void complete(Operation& operation, std::int32_t result, bool more);
  void complete_as(Operation& operation, Completion completion);
  void finish(Operation& operation);
  void forget(Operation& operation);  // without its completion
  void check_memory(const Operation& operation);
  void request_cancel(RingState& ring, const Operation& request);
  bool cancel_later(Operation& operation);
  void cancel_now(Operation& operation);
  RingState& ring_of(const Operation& operation) const noexcept { return *rings_[operation.ring]; }
  void deliver_wake(std::uint64_t ring_index, std::uint32_t slot);

  // Objects.
  template <class T>
  T& add_object();
  template <class T>
  T* find(ObjectId id) noexcept;
  template <class T>
  T& object_of(const Operation& operation);
  void release(ObjectId id);
  DescriptorTable& table(RingState& ring, Descriptor descriptor) noexcept {
    return descriptor.direct ? ring.direct : plain_;
  }

  // Connections.
  bool address_in_use(const Address& address, bool reuse_port);
  Listener* pick_listener(const Address& address);
  Address ephemeral(int family);
  Stream& add_stream(int family);
  void step_connect(Operation& operation);
  void connect_arrives(Operation& operation, Stream& client);
  void step_accept(Operation& operation);
  void wake_one_accept(const Listener& listener);
  void fail_accept(Operation& operation, Listener& listener, int error);
  void close_stream(Stream& stream);
  void close_listener(Listener& listener);
  void send_reset(ObjectId stream);
  void reset_arrives(Stream& stream);
  void break_connection(Stream& stream);

  // Streams.
  void step_send(Operation& operation);
  void take_bytes(Operation& operation, Stream& from, Stream& to, std::size_t count);
  void fail_send(Operation& operation, int error);
  void step_receive(Operation& operation);
  void step_poll(Operation& operation);
  void deliver_bytes(Operation& operation, Stream& stream);
  void consumed(Stream& stream, std::size_t count);
  void end_stream(Stream& from);
  void step_shutdown(Operation& operation);
  void arrive(Stream& stream);
  static int take_reset_error(Stream& stream) noexcept;

  // Datagrams.
  DatagramSocket* bound_to(const Address& address);
  void step_send_datagram(Operation& operation, DatagramSocket& from);
  void step_receive_datagram(Operation& operation);
  void datagram_arrives(const Address& to, DatagramSocket::Datagram datagram);

  // Files.
  void step_open(Operation& operation);
  void step_read(Operation& operation);
  void step_write(Operation& operation);
  void step_fsync(Operation& operation);
  void step_stat(Operation& operation);
  void step_names(Operation& operation);
  void step_outside(Operation& operation);
  bool file_fails(Operation& operation, bool writing);
  void complete_open(Operation& operation, FileSystem::Opened opened);

  World& world_;
  std::vector<RingState*> rings_;  // null: destroyed
  std::vector<Event> events_;      // a heap
  std::uint64_t next_sequence_ = 0;
  std::deque<Operation> operations_;  // slots; an id is slot + 1 and the use of the slot
  std::vector<std::uint32_t> free_;
  std::uint64_t next_use_ = 0;
  std::unordered_map<std::uint64_t, std::function<void()>> calls_;
  std::uint64_t next_call_ = 0;
  std::unordered_map<ObjectId, std::unique_ptr<Object>> objects_;
  ObjectId next_object_ = 1;
  std::vector<ObjectId> listeners_;  // in order of creation
  std::vector<ObjectId> datagrams_;  // their sockets
  DescriptorTable plain_;
  std::uint16_t next_listen_port_ = 20'000;
  std::uint32_t next_client_port_ = 32'768;
};

}  // namespace corelane::runtime::sim
