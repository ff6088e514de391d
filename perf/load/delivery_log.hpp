#pragma once
// DeliveryLog: the byte stream that all subscribers of a channel must get, up to the newest byte
// that any subscriber has received. The first subscriber with new bytes extends it, and the bytes
// are parsed and checked once. The other subscribers only compare memory (perf/load/follower.hpp).
// So a delivery costs the client a comparison, also when the server chooses some bytes of a message
// (times, offsets).
//
//   [ forgotten ][ delivery s ][ delivery s+1 ] ... [ checked up to here ][ part of a delivery ]
//                ^ boundary(s)                      ^ boundary(sequences())                    ^
//                end
//
// Positions are bytes from the beginning of the stream. Belongs to one core.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "perf/load/delivery_order.hpp"
#include "perf/load/fanout_protocol.hpp"

namespace corelane::perf {

class DeliveryLog {
 public:
  // Where a delivery begins, and what state the parser has there.
  struct Boundary {
    std::uint64_t position = 0;
    FanoutProtocol::State state = 0;
  };

  // Both outlive it.
  DeliveryLog(const FanoutProtocol& protocol, DeliveryOrder& order);
  // The parser's state where the first delivery begins, which is the same for all: a subscriber
  // says it when it is confirmed. Without effect once something has come.
  void set_first_state(FanoutProtocol::State state) noexcept;

  // Whole deliveries checked.
  std::uint64_t sequences() const noexcept { return sequences_; }
  std::uint64_t first_kept() const noexcept { return first_; }
  // first_kept() <= sequence <= sequences()
  Boundary boundary(std::uint64_t sequence) const noexcept {
    return boundaries_[sequence & (boundaries_.size() - 1)];
  }
  std::uint64_t end() const noexcept { return base_ + bytes_.size(); }
  // What follows `position`, which is kept; to the end.
  std::span<const std::byte> from(std::uint64_t position) const noexcept {
    return std::span{bytes_}.subspan(static_cast<std::size_t>(position - base_));
  }

  struct Extended {
    // False: what follows is no delivery, or a wrong one, and may have begun before these bytes.
    bool good = true;
    // Good, but less than given: what follows concerns one subscriber alone, from a unit's
    // beginning on, at which the parser has the state `rest_state`.
    std::size_t consumed = 0;
    FanoutProtocol::State rest_state = 0;
  };
  // Bytes that came behind end().
  Extended extend(std::span<const std::byte> bytes);
  // All subscribers have the deliveries below `sequence`.
  void forget_before(std::uint64_t sequence) noexcept;

 private:
  void push_boundary(Boundary boundary);
  Extended cut(std::uint64_t end_before, bool good);

  const FanoutProtocol& protocol_;
  DeliveryOrder& order_;
  std::vector<std::byte> bytes_;
  std::uint64_t base_ = 0;     // position of bytes_[0]
  std::uint64_t checked_ = 0;  // a unit begins here, at most end()
  FanoutProtocol::State state_ = 0;
  bool between_deliveries_ = true;    // the unit at checked_ is the first behind a delivery
  std::vector<Boundary> boundaries_;  // a power of two, by sequence
  std::uint64_t first_ = 0;
  std::uint64_t sequences_ = 0;
};

}  // namespace corelane::perf
