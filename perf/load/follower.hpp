#pragma once
// Follower: one subscriber's incoming side. It follows the DeliveryLog as long as what comes is the
// same; what is this subscriber's own (confirmation, pings, a stream that the server cut into other
// frames) it parses by itself, and returns to the log at the next delivery that begins alike. Pure
// but for the log; one core.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "perf/load/delivery_log.hpp"
#include "perf/load/fanout_protocol.hpp"

namespace corelane::perf {

class Follower {
 public:
  enum class Judged : std::uint8_t { yes, no };  // no: deliveries are only counted

  // All outlive it.
  Follower(const FanoutProtocol& protocol, DeliveryOrder& order, DeliveryLog& log,
           Judged judged) noexcept
      : protocol_(protocol),
        order_(order),
        log_(log),
        judged_(judged),
        confirmed_(!protocol.is_confirmed_in_stream(FanoutProtocol::Role::subscriber)) {}

  enum class Found : std::uint8_t { drained, confirmed, ping, refused, wrong };
  // Takes all of `bytes`. Unless `drained`, handle it and call again, with nothing more to give.
  Found feed(std::span<const std::byte> bytes);
  // After `ping`: what it carried; after `refused`: why, for people; after `wrong`: what.
  std::span<const std::byte> found_bytes() const noexcept { return found_bytes_; }
  std::string explain() const;

  // Deliveries so far, which is the place of the next one in the order.
  std::uint64_t next_sequence() const noexcept { return next_; }

 private:
  void follow(std::span<const std::byte>& bytes);
  void advance() noexcept;
  void leave_log(std::span<const std::byte>& bytes);
  bool rejoin() noexcept;
  Found take_own_unit();

  const FanoutProtocol& protocol_;
  DeliveryOrder& order_;
  DeliveryLog& log_;
  Judged judged_;
  bool following_ = false;
  bool may_rejoin_ = true;  // not in front of the unit at which it left the log
  bool confirmed_;
  std::uint64_t next_ = 0;
  std::uint64_t position_ = 0;           // following: in the log
  std::vector<std::byte> own_;           // not following: what is not parsed yet,
  std::size_t own_parsed_ = 0;           // from here,
  FanoutProtocol::State own_state_ = 0;  // and the parser
  std::vector<std::byte> found_bytes_;
};

}  // namespace corelane::perf
