#pragma once
// MixedLedger: what sessions have asked for and what must come of it, for scripts that mix
// requests: a Ping's Pong to its own session, a Send's message to the next session (the last one's
// to the first), a publish's event to all sessions of the channel. Pongs and messages must come in
// the order of what caused them; events in one order for all of a channel, which holds each
// session's own in the order it published them; everything once, with the right bytes. Pure; one
// core.

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/types.hpp"

namespace corelane::perf {

enum class Operation : std::uint8_t { ping, publish, send };
inline constexpr std::size_t kOperations = 3;
constexpr std::string_view name_of(Operation operation) noexcept {
  constexpr std::array<std::string_view, kOperations> kNames{"ping", "publish", "send"};
  return kNames[static_cast<std::size_t>(operation)];
}

class MixedLedger {
 public:
  static constexpr std::size_t kPayloadBytesMin = 16;

  // Sessions are numbered from 0; `each` of them share a channel, the last channel may have fewer.
  // payload_bytes >= kPayloadBytesMin.
  MixedLedger(std::uint32_t sessions, std::uint32_t each, std::size_t payload_bytes);

  std::uint32_t channel_of(std::uint32_t session) const noexcept { return session / each_; }
  std::uint32_t channels() const noexcept { return static_cast<std::uint32_t>(channels_.size()); }
  std::uint32_t receiver_of(std::uint32_t session) const noexcept {
    return session + 1 == sessions_.size() ? 0 : session + 1;
  }

  // What to send for it: valid until the next call.
  std::span<const std::byte> begin(Operation operation, std::uint32_t session,
                                   runtime::Nanoseconds at);

  // An operation whose last effect was this.
  struct Ended {
    Operation operation;
    std::uint32_t session;  // that began it
    runtime::Nanoseconds at;
  };
  struct Verdict {
    bool good = false;  // false: it was not due, there or now
    std::optional<Ended> ended = {};
  };
  Verdict on_pong(std::uint32_t session, std::span<const std::byte> data);
  Verdict on_message(std::uint32_t receiver, std::span<const std::byte> data);
  Verdict on_event(std::uint32_t session, std::span<const std::byte> data);

  std::uint64_t outstanding() const noexcept { return outstanding_; }

 private:
  struct Begun {
    std::uint64_t number;
    runtime::Nanoseconds at;
  };
  struct Session {
    std::array<std::deque<Begun>, kOperations> due;  // publishes: those that nobody has got
    std::array<std::uint64_t, kOperations> begun{};
    std::uint64_t position = 0;  // events of its channel that it has got
  };
  struct Event {
    std::uint32_t session;
    Begun begun;
    std::uint32_t remaining;  // sessions that do not have it
  };
  struct Channel {
    std::uint32_t sessions = 0;
    std::uint64_t first = 0;   // position of events.front()
    std::deque<Event> events;  // which somebody has got, and not all
  };

  std::span<const std::byte> payload(Operation operation, std::uint32_t session,
                                     std::uint64_t number);
  bool matches(Operation operation, std::uint32_t session, std::uint64_t number,
               std::span<const std::byte> data);
  Verdict take_due(Operation operation, std::uint32_t session, std::span<const std::byte> data);

  std::uint32_t each_;
  std::vector<Session> sessions_;
  std::vector<Channel> channels_;
  std::vector<std::byte> pattern_;
  std::vector<std::byte> payload_;
  std::uint64_t outstanding_ = 0;
};

}  // namespace corelane::perf
