#pragma once
// FanoutProtocol: how subscribers and publishers speak to a server, one class a protocol: what they
// say first, how a publish looks, and what stands in the stream that comes back. Pure codecs, no
// I/O; constant, one instance for all connections of a load. README.md has the conventions.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "perf/load/settings.hpp"

namespace corelane::perf {

inline constexpr std::string_view kChannel = "load";  // unless a load has several

// What stands at the front of a stream.
struct Unit {
  enum class Kind : std::uint8_t {
    need_more,  // it is not whole yet
    skipped,    // nothing that concerns a load
    confirmed,  // the subscription holds; for a publisher: it may begin
    delivery,   // `payload` is what was published
    ping,       // to be answered; `payload` is what it carried
    refused,    // the server says no, or goodbye; `payload` is text for people
    wrong,      // no such thing exists in this protocol
  };
  Kind kind = Kind::need_more;
  std::size_t consumed = 0;
  // Lies in what was parsed, or in the protocol's own memory: valid until the next parse().
  std::span<const std::byte> payload{};
};

class FanoutProtocol {
 public:
  enum class Role : std::uint8_t { subscriber, publisher };
  // A connection's parser between two units; 0 at the start of its stream.
  using State = std::uint64_t;

  virtual ~FanoutProtocol() = default;

  // Appends what a connection says first. Empty: opening it is all, and confirms it.
  virtual void greet(std::vector<std::byte>& to, Role role) const = 0;
  // True if something in the stream tells that the connection is ready.
  virtual bool is_confirmed_in_stream(Role role) const = 0;
  // The path for Scheme::ws; empty: the target's.
  virtual std::string_view path(Role) const { return {}; }
  virtual void publish(std::vector<std::byte>& to, std::span<const std::byte> payload) const = 0;
  // Appends the answer to a ping.
  virtual void answer_ping(std::vector<std::byte>& to,
                           std::span<const std::byte> payload) const = 0;
  virtual Unit parse(std::span<const std::byte> bytes, State& state) const = 0;
  // False if a unit that begins so can be none that all subscribers get alike.
  virtual bool may_be_delivery(std::byte first, State state) const = 0;

 protected:
  FanoutProtocol() = default;
  FanoutProtocol(const FanoutProtocol&) = default;
  FanoutProtocol& operator=(const FanoutProtocol&) = default;
};

// Of the settings' scheme, protocol and payload size. Null: they do not go together.
// The raw protocols know of no channels.
std::unique_ptr<FanoutProtocol> make_fanout_protocol(const Settings& settings,
                                                     std::string_view channel = kChannel);

}  // namespace corelane::perf
