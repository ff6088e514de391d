#pragma once
// Sessions: the table of one core's sessions, and what reaches a session from anywhere: Send and
// Broadcast. One a core.
//
// Anybody on the core may call: opcode handlers, coroutines, other services. What comes of it goes
// to a ReplyTo.
//
// Owner of a session: the core that accepted its socket. Its UUID names core, slot and generation
// and carries 62 random bits, so that any core finds the owner without a table, and nobody finds a
// session by guessing. Send goes to the owner over a lane and comes back as an acknowledgement or
// an error; Broadcast goes to every core, each hands it to its sessions, and the counts come back.
// Sends and broadcasts of one session reach another one in the order sent, on any core. A session
// that ends in between is an unknown session.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/verify.hpp"
#include "runtime/core.hpp"
#include "runtime/sharded.hpp"
#include "runtime/slab.hpp"
#include "runtime/task.hpp"
#include "services/local.hpp"
#include "services/service.hpp"
#include "services/sessions/connection_log.hpp"
#include "services/sessions/fan_outs.hpp"
#include "services/sessions/session.hpp"

namespace corelane::services {

struct ReplyTo;  // services/reply/reply.hpp

// A Send, by a session, a coroutine or the server: the receiving session gets a DirectMessage.
struct DirectSend {
  protocol::Uuid to{};
  protocol::Bytes data;
  protocol::Uuid from{};  // the sender as the receiver sees it; nil: the server
  protocol::Uuid trace_id{};
  std::uint64_t span_id = 0;
};

// A Broadcast: every session of every core but `except` is handed a BroadcastMessage.
struct BroadcastSend {
  protocol::Bytes data;
  protocol::Uuid from{};
  protocol::Uuid trace_id{};
  std::uint64_t span_id = 0;
  SessionId except{};
};

// Completions of the two. `none`: queued to the session; `unknown_session`: it is not there, is
// closing, or takes nothing.
struct Sent {
  protocol::ErrorCode code = protocol::ErrorCode::none;
};
struct BroadcastDone {
  std::uint32_t delivered = 0;  // sessions it was queued to
};
void complete(const ReplyTo& to, const Sent& done) noexcept;
void complete(const ReplyTo& to, const BroadcastDone& done) noexcept;

// Logs an Error that a client gets: at warning for limits of the server, at info for faults of the
// client, at debug for codes that may be no fault (an unknown session).
[[gnu::cold]] void log_error(net::Stream& stream, protocol::ErrorCode code, std::string_view text);

class Sessions : public Service {
 public:
  // `close_timeout`: time for a TCP peer to read the reason of its session's end. `fan_out_max`:
  // the bound of a turn (FanOuts).
  explicit Sessions(std::uint32_t sessions_max,
                    runtime::Nanoseconds close_timeout = 5 * runtime::kSecond,
                    std::uint32_t fan_out_max = FanOuts::kTurnMax);
  ~Sessions() override;

  // nullptr: the table is full. The session must be erased before its connection is gone.
  Session* open(ws::Connection& connection);
  Session* open(net::Stream& stream, protocol::Transport transport);
  // Tells the services that have asked for it, in the order in which they have, and forgets it.
  void erase(Session& session) noexcept;
  // Service::session_ended() of this core's instance is called for every session from now on. It
  // lives as long as the table.
  void tell_ended(Service& service) { told_ended_.push_back(&service); }
  // The same for Service::session_opened() and sessions that begin.
  void tell_opened(Service& service) { told_opened_.push_back(&service); }
  // The client sends nothing more, but still reads: closes the session behind all its answers, also
  // Errors to requests without requires_ack. Costs two messages for each core, also the own one:
  // answers may wait in the own lane.
  void end(Session& session);

  // For rare use: suspends for a turn or two. Empty: the session has ended or is closing, it is a
  // Unix stream, or the kernel lacks the command (before Linux 6.7).
  static runtime::Task<std::string> peer_address(SessionId id);

  // Which session a UUID names, if it has the form of one of ours; the owner decides. Only the low
  // bits of the generation are in it: slot and secret tell sessions apart.
  struct Named {
    SessionId id;
    std::uint64_t secret = 0;
    bool valid = false;
  };
  static Named parse(const protocol::Uuid& uuid, runtime::CoreId cores) noexcept;

  // On this core only; nullptr if it has ended.
  Session* find(const SessionId& id) noexcept;
  // By a UUID of this core's.
  Session* find(const Named& named) noexcept;
  std::uint32_t count() const noexcept { return sessions_.count(); }
  template <class Visit>
  void for_each(Visit&& visit) {
    sessions_.for_each([&](auto, Session& session) { visit(session); });
  }
  // For walks in several steps: slots 0 to slots() - 1; null if there is none in a slot.
  std::uint32_t slots() const noexcept { return sessions_.slots(); }
  Session* in_slot(std::uint32_t slot) noexcept { return sessions_.in_slot(slot); }

  // Hands over data to a session wherever it is; completes with Sent. Copies the data once if the
  // session is on another core.
  void send(const DirectSend& what, const ReplyTo& to);
  // Hands over data to every session but one; completes with BroadcastDone when all cores have done
  // so. Copies the data once. A session that begins before that may get the data or not.
  void broadcast(const BroadcastSend& what, const ReplyTo& to);

  static std::span<const OpcodeRow> opcodes() noexcept;
  static std::span<const MetricRow> metrics() noexcept;

  // This core's table, of those that were started together.
  static Sessions& local() noexcept { return services::local<Sessions>(ServiceSlot::sessions); }

  runtime::Nanoseconds close_timeout() const noexcept { return close_timeout_; }
  FanOuts& fan_outs() noexcept { return fan_outs_; }

  // Memory for a frame that is compressed before it is sent; valid until the next call.
  std::byte* scratch(std::size_t bytes);

  struct Counters {
    std::uint64_t opened = 0;
    std::uint64_t closed = 0;
    std::uint64_t sent = 0;          // Send requests delivered on this core
    std::uint64_t unknown = 0;       // and those whose target was not there
    std::uint64_t broadcasts = 0;    // taken in on this core
    std::uint64_t broadcast_to = 0;  // sessions they were handed to here
    std::uint64_t slow_readers = 0;
  };
  Counters& counters() noexcept { return counters_; }

  // What quotas do with requests and with what is sent (services/quota); null: there are none.
  struct QuotaFunctions {
    // A request that the session's credit does not cover. False: it was answered, or the session
    // was closed, and it must not be served.
    bool (*admit)(Session& session, const protocol::MessageView& message,
                  std::size_t bytes) noexcept = nullptr;
    // For sessions that Session::set_counts_sent() was called for.
    void (*sent)(Session& session, std::uint32_t deliveries, std::size_t bytes) noexcept = nullptr;
  };
  void set_quota(const QuotaFunctions& functions) noexcept { quota_ = functions; }
  const QuotaFunctions& quota() const noexcept { return quota_; }

 private:
  struct DirectRecord;
  struct DirectAsk;
  struct BroadcastAsk;
  struct BroadcastAnswer;
  struct PendingBroadcast;
  struct FenceAsk;
  struct FenceAnswer;

  template <class... Arguments>
  Session* add(Arguments&&... arguments);
  Sent deliver_direct(const Named& target, const DirectRecord& record, protocol::Bytes data);
  static bool is_told(const ReplyTo& to, const Sent& done) noexcept;
  void answered(const SessionId& id) noexcept;
  void count_broadcast(const BroadcastAnswer& answer);
  // This core's part of a broadcast, and the state of its fan-out.
  struct BroadcastWalk {
    runtime::SharedBytes block;
    std::size_t bytes = 0;
    SessionId except;
    runtime::CoreId home = runtime::kNoCore;  // counts the deliveries, under pending_slot
    std::uint32_t pending_slot = 0;
    std::uint32_t pending_generation = 0;
    std::uint32_t next = 0;  // the next slot
    std::uint32_t count = 0;
  };
  bool walk_on(BroadcastWalk& walk) noexcept;  // true: it has ended

  runtime::Slab<Session> sessions_;
  std::vector<Service*> told_ended_;
  std::vector<Service*> told_opened_;
  QuotaFunctions quota_;
  FanOuts fan_outs_;
  BroadcastWalk broadcast_;  // the unfinished fan-out
  runtime::Nanoseconds close_timeout_;
  std::vector<std::byte> scratch_;
  std::unique_ptr<runtime::Slab<PendingBroadcast>> pending_;
  Counters counters_;
};

}  // namespace corelane::services
