#include "perf/load/mixed_ledger.hpp"

#include <algorithm>
#include <cstring>

#include "runtime/assert.hpp"
#include "runtime/random.hpp"

namespace corelane::perf {
namespace {

constexpr std::uint64_t kSeed = 0x6d69786564;
constexpr std::size_t kShiftMax = 256;

// What every payload begins with.
struct Head {
  std::uint32_t session;
  std::uint32_t operation;
  std::uint64_t number;  // of the session's operations of this kind
};
static_assert(sizeof(Head) == MixedLedger::kPayloadBytesMin);

}  // namespace

MixedLedger::MixedLedger(std::uint32_t sessions, std::uint32_t each, std::size_t payload_bytes)
    : each_(each),
      sessions_(sessions),
      channels_((sessions + each - 1) / each),
      pattern_(payload_bytes + kShiftMax),
      payload_(payload_bytes) {
  RT_ASSERT(payload_bytes >= kPayloadBytesMin);
  for (std::uint32_t session = 0; session < sessions; ++session) {
    ++channels_[channel_of(session)].sessions;
  }
  runtime::Random random(kSeed);
  random.fill(pattern_);
}

std::span<const std::byte> MixedLedger::payload(Operation operation, std::uint32_t session,
                                                std::uint64_t number) {
  const Head head{session, static_cast<std::uint32_t>(operation), number};
  std::memcpy(payload_.data(), &head, sizeof head);
  std::memcpy(payload_.data() + sizeof head, pattern_.data() + (number + session) % kShiftMax,
              payload_.size() - sizeof head);
  return payload_;
}

bool MixedLedger::matches(Operation operation, std::uint32_t session, std::uint64_t number,
                          std::span<const std::byte> data) {
  return std::ranges::equal(payload(operation, session, number), data);
}

std::span<const std::byte> MixedLedger::begin(Operation operation, std::uint32_t session,
                                              runtime::Nanoseconds at) {
  Session& one = sessions_[session];
  const auto index = static_cast<std::size_t>(operation);
  const std::uint64_t number = one.begun[index]++;
  one.due[index].push_back({number, at});
  ++outstanding_;
  return payload(operation, session, number);
}

// The oldest of its kind that the session waits for.
MixedLedger::Verdict MixedLedger::take_due(Operation operation, std::uint32_t session,
                                           std::span<const std::byte> data) {
  auto& due = sessions_[session].due[static_cast<std::size_t>(operation)];
  if (due.empty() || !matches(operation, session, due.front().number, data)) return {};
  const Begun begun = due.front();
  due.pop_front();
  --outstanding_;
  return {.good = true, .ended = Ended{operation, session, begun.at}};
}

MixedLedger::Verdict MixedLedger::on_pong(std::uint32_t session, std::span<const std::byte> data) {
  return take_due(Operation::ping, session, data);
}

MixedLedger::Verdict MixedLedger::on_message(std::uint32_t receiver,
                                             std::span<const std::byte> data) {
  const auto sessions = static_cast<std::uint32_t>(sessions_.size());
  return take_due(Operation::send, receiver == 0 ? sessions - 1 : receiver - 1, data);
}

// Events of one publisher must keep their order. The first session to get an event sets the order
// between publishers for all other sessions of the channel.
MixedLedger::Verdict MixedLedger::on_event(std::uint32_t session, std::span<const std::byte> data) {
  Channel& channel = channels_[channel_of(session)];
  Session& one = sessions_[session];
  const auto index = static_cast<std::size_t>(one.position - channel.first);
  if (index == channel.events.size()) {
    Head head{};
    if (data.size() < sizeof head) return {};
    std::memcpy(&head, data.data(), sizeof head);
    if (head.session >= sessions_.size() || &channels_[channel_of(head.session)] != &channel) {
      return {};
    }
    auto& due = sessions_[head.session].due[static_cast<std::size_t>(Operation::publish)];
    if (due.empty()) return {};
    if (!matches(Operation::publish, head.session, due.front().number, data)) return {};
    channel.events.push_back({head.session, due.front(), channel.sessions});
    due.pop_front();
  } else {
    const Event& event = channel.events[index];
    if (!matches(Operation::publish, event.session, event.begun.number, data)) return {};
  }
  ++one.position;
  Event& event = channel.events[index];
  if (--event.remaining > 0) return {.good = true};
  // All have it, and so had all those before it.
  const Ended ended{Operation::publish, event.session, event.begun.at};
  RT_ASSERT(index == 0);
  channel.events.pop_front();
  ++channel.first;
  --outstanding_;
  return {.good = true, .ended = ended};
}

}  // namespace corelane::perf
