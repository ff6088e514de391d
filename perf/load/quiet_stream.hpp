#pragma once
// QuietStream: a connection that is not measured itself: a publisher, a sender, an idle connection.
// Answers pings, skips messages that do not matter to a load, and notices a refusal or an end. The
// load owns it and outlives its stream.

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "net/network.hpp"
#include "perf/load/fanout_protocol.hpp"

namespace corelane::perf {

class QuietStream {
 public:
  // Events for the owner; many streams share one object. `on_skipped`: a message came that does not
  // matter to the load.
  struct Events {
    std::function<void()> on_confirmed;
    std::function<void()> on_skipped;
    // The server closed it, refused, or sent what it should not: why, for people.
    std::function<void(bool is_wrong, const std::string& why)> on_ended;
  };
  // Both outlive it.
  QuietStream(const FanoutProtocol& protocol, const Events& events) noexcept
      : protocol_(protocol), events_(events) {}

  static const net::StreamHandler kHandler;

 private:
  static QuietStream& of(net::Stream& stream) { return *static_cast<QuietStream*>(stream.owner()); }
  void take(net::Stream& stream, std::span<const std::byte> bytes);
  bool handle(net::Stream& stream, const Unit& unit);

  static void on_data(net::Stream& stream, const net::Received& received) noexcept;
  static void on_end(net::Stream& stream) noexcept;
  static void on_closed(net::Stream& stream, runtime::Error why) noexcept;
  static void on_timer(net::Stream&) noexcept {}

  const FanoutProtocol& protocol_;
  const Events& events_;
  std::vector<std::byte> kept_;  // part of a unit
  FanoutProtocol::State state_ = 0;
  std::string refused_;
  bool is_wrong_ = false;
};

}  // namespace corelane::perf
