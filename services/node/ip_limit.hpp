#pragma once
// IpLimit: a limit of connections from one address, counted exactly over all cores. One a core,
// only if there is such a limit; needs plain descriptors, as a direct one cannot be asked for its
// peer.
//
// The count of an address belongs to one core, by XXH3 of the address. A new connection waits,
// unread, until that core has said yes; then the listener's own accept function gets it. At most
// three messages a connection:
//
//   accepting core --Ask--> owner --Answer--> accepting core ... connection gone --Release--> owner
//
// Over the limit the connection is cut before a byte of it is read. IPv6 addresses count one by
// one; Unix sockets have no address and are not counted.

#include <tsl/robin_map.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>

#include "net/network.hpp"
#include "runtime/address.hpp"
#include "runtime/slab.hpp"
#include "services/local.hpp"

namespace corelane::services {

class IpLimit {
 public:
  struct Options {
    std::uint32_t connections_max = 1;  // of one address
    std::uint64_t hash_seed = 0;        // the same on all cores
  };

  // On the network's core, which must not have another gone observer.
  IpLimit(net::Network& network, const Options& options);
  ~IpLimit();
  IpLimit(const IpLimit&) = delete;
  IpLimit& operator=(const IpLimit&) = delete;

  static IpLimit& local() noexcept { return services::local<IpLimit>(ServiceSlot::ip_limit); }

  // The arguments for Network::listen in place of `function` and `context`.
  struct Gate {
    IpLimit* limit;
    net::AcceptFunction function;
    void* context;
  };
  Gate& gate(net::AcceptFunction function, void* context);
  static bool accept(void* gate, net::Stream& stream) noexcept;

  // IPv4 as IPv4-mapped IPv6 (RFC 4291 section 2.5.5.2).
  using Key = std::array<std::uint8_t, 16>;
  // Seeded, and not with that of owner_of(): else all keys of a core would agree in the bits that
  // choose the core.
  struct KeyHash {
    std::uint64_t seed;
    std::size_t operator()(const Key& key) const noexcept;
  };

  struct Counters {
    std::uint64_t asked = 0;
    std::uint64_t refused = 0;  // connections that were accepted here
  };
  const Counters& counters() const noexcept { return counters_; }
  // Addresses that this core counts now.
  std::size_t addresses() const noexcept { return counts_.size(); }

 private:
  // A connection from accept to its end. Named by its place in the slab: the stream's own slot may
  // be used again before the answer is there.
  struct Entry {
    Key key;
    net::StreamId stream;
    Gate* gate;
    bool is_counted = false;
    bool is_gone = false;
  };
  struct EntryId {
    std::uint32_t slot;
    std::uint32_t generation;
  };
  struct Ask;
  struct Answer;
  struct Release;

  static Key key_of(const runtime::Address& address) noexcept;
  runtime::CoreId owner_of(const Key& key) const noexcept;
  bool admit(net::Stream& stream, Gate& gate);
  void count(const Ask& ask, runtime::CoreId from);
  void finish(const Answer& answer);
  void hand_over(Entry& entry);
  void release(const Key& key);
  void on_gone(net::StreamId stream) noexcept;

  static const net::StreamHandler kWaiting;

  net::Network& network_;
  Options options_;
  std::deque<Gate> gates_;  // addresses stay
  runtime::Slab<Entry> entries_;
  tsl::robin_map<std::uint32_t, EntryId> by_stream_;  // by the stream's slot
  tsl::robin_map<Key, std::uint32_t, KeyHash> counts_;
  Counters counters_;
};

}  // namespace corelane::services
