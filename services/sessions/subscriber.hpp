#pragma once
// Subscriber: holds subscriptions of channels on this core. A session is one kind, and the only one
// that publishing knows by name: it hands runs to sessions without an indirect call. Every other
// kind is a Listener (services/pubsub/listener.hpp).
//
// Belongs to one core. PubSub::leave_all() must have been called before it goes.

#include <cstdint>
#include <span>

#include "runtime/shared_bytes.hpp"
#include "services/sessions/subscriptions.hpp"

namespace corelane::services {

// A published run: events of one channel laid out one after the other, each a WebSocket frame that
// holds one protocol frame.
struct EventRun {
  const runtime::SharedBytes& block;
  std::span<const std::byte> bytes;
  std::uint32_t events = 0;
};

// Takes the first event off a run that is not empty: a protocol frame, out of its WebSocket frame.
std::span<const std::byte> take_event(std::span<const std::byte>& run) noexcept;

class Subscriber {
 public:
  enum class Kind : std::uint8_t { session, listener };

  Subscriber(const Subscriber&) = delete;
  Subscriber& operator=(const Subscriber&) = delete;

  Kind kind() const noexcept { return kind_; }
  // For services/pubsub: the channels it holds or has asked for.
  Subscriptions& subscriptions() noexcept { return subscriptions_; }

 protected:
  explicit Subscriber(Kind kind) noexcept : kind_(kind) {}
  ~Subscriber() = default;

 private:
  Subscriptions subscriptions_;
  const Kind kind_;
};

}  // namespace corelane::services
