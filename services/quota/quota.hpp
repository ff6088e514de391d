#pragma once
// Quotas: what clients may ask of the server, and what it sends to them, in a time. One Quota a
// core. services/quota/README.md says what is promised, source.hpp how a request is decided.
//
// Limits are of a session, of an address (all sessions from it) or of a principal (all sessions of
// one user). Each begins with those of the configuration; set() gives it others. A session's limits
// belong to its core; those of a key (an address, a principal) to the core that owns it, which
// gives the others tokens in advance (share.hpp).
//
//   request -> Session::spend(): the credit -- is used up --> Quota::admit(): serve it, or not
//   what is sent -> Session::count_sent() -- if a limit counts it --> Quota::sent()

#include <tsl/robin_map.h>

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/verify.hpp"
#include "runtime/core.hpp"
#include "runtime/shared_bytes.hpp"
#include "runtime/slab.hpp"
#include "runtime/task.hpp"
#include "services/local.hpp"
#include "services/quota/result.hpp"
#include "services/quota/session_quota.hpp"
#include "services/quota/share.hpp"
#include "services/service.hpp"
#include "services/sessions/sessions.hpp"

namespace corelane::services {

struct QuotaOptions {
  // What every session, address and principal has that was given nothing else.
  quota::Limits session{};
  quota::Limits address{};
  quota::Limits principal{};
  // The principal of sessions that have none of their own. Empty: their address.
  std::string principal_name{};
  bool permissive = false;  // counts, and nothing follows
  // The addresses of sessions are known, so that quotas of addresses and principals can be set
  // later. True as well if there are limits of the two. Needs plain descriptors.
  bool track = false;
  bool loopback_sets = true;    // clients of this host may set quotas, and see those of others
  std::uint64_t hash_seed = 0;  // the same on all cores

  bool tracks() const noexcept { return track || !address.empty() || !principal.empty(); }
  const quota::Limits& of(quota::QuotaScope scope) const noexcept {
    if (scope == quota::QuotaScope::session) return session;
    return scope == quota::QuotaScope::address ? address : principal;
  }
};

// Names what has a quota.
struct QuotaTarget {
  quota::QuotaScope scope = quota::QuotaScope::session;
  protocol::Uuid session{};  // of scope session; nil: that of `asked_by`
  std::string key{};         // of the others; empty: that of `asked_by`
  SessionId asked_by{};
};

// Limits and their use, or why there are none: unknown_session, unavailable (addresses are not
// known: QuotaOptions::track), limit_exceeded (a core has as many keys with limits of their own as
// it may).
struct QuotaReport {
  protocol::ErrorCode code = protocol::ErrorCode::none;
  protocol::Uuid session{};
  std::string key{};
  std::vector<protocol::fbs::QuotaLimit> limits{};
  std::vector<protocol::fbs::QuotaUse> uses{};
};

class Quota : public Service, private quota::Asker {
 public:
  // Keys with limits of their own, and keys without sessions whose buckets are not full, that a
  // core keeps at most, each. About 300 bytes.
  static constexpr std::size_t kKeysMax = 100'000;

  // Throws std::invalid_argument for more limits than quota::kLimitsMax.
  explicit Quota(const QuotaOptions& options);
  ~Quota() override;

  static Quota& local() noexcept { return services::local<Quota>(ServiceSlot::quota); }
  static std::span<const OpcodeRow> opcodes() noexcept;
  static std::span<const config::Row<QuotaOptions>> settings() noexcept;
  const QuotaOptions& options() const noexcept { return options_; }

  // --- Operations, on any core. `target.asked_by` is a session of this core, or names nothing.

  // The report may be some messages between cores old.
  runtime::Task<QuotaReport> get(QuotaTarget target);
  // In place of the limits that it had, with full buckets; `limits` null: those of the
  // configuration. Sessions on other cores go on with the earlier ones until they are told.
  runtime::Task<QuotaReport> set(QuotaTarget target, std::unique_ptr<quota::Limits> limits);
  // From now on the session counts for this principal. It must be of this core.
  void identify(Session& session, std::string_view principal);
  // Whether the session may set quotas, and see those of others.
  static runtime::Task<bool> is_operator(SessionId session);

  // What became of the session's latest request. For plain handlers, and for coroutines before
  // their first suspension. On the session's core.
  QuotaResult result_of(Session& session) noexcept;

  struct Counters {
    std::uint64_t looks = 0;  // requests that no credit covered
    std::uint64_t warned = 0;
    std::uint64_t delayed = 0;
    std::uint64_t rejected = 0;
    std::uint64_t terminated = 0;
    std::uint64_t permitted = 0;  // would have been rejected or terminated: permissive mode
    std::uint64_t asks = 0;       // to owners, of keys
  };
  const Counters& counters() const noexcept { return counters_; }
  // Keys that this core owns, and keys of its sessions.
  std::size_t pools() const noexcept { return pools_.size(); }
  std::size_t shares() const noexcept { return shares_.size(); }

  void session_opened(Session& session) noexcept override;
  void session_ended(Session& session) noexcept override;

 private:
  struct AttachMessage;
  struct DetachMessage;
  struct AskMessage;
  struct GrantMessage;
  struct GiveBackMessage;
  struct LimitsMessage;

  // The session's core (quota.cpp, deciding.cpp).
  static bool admit(Session& session, const protocol::MessageView& message,
                    std::size_t bytes) noexcept;
  static void sent(Session& session, std::uint32_t deliveries, std::size_t bytes) noexcept;
  SessionQuota& quota_of(Session& session);
  void choose_credit(Session& session, SessionQuota& of) noexcept;
  bool decide(Session& session, SessionQuota& of, const protocol::MessageView& message,
              std::size_t bytes);
  void refuse(Session& session, const quota::Verdict& verdict,
              const protocol::MessageView& message);
  void act_softly(Session& session, SessionQuota& of, const quota::Verdict& verdict);
  void delay(Session& session, SessionQuota& of, runtime::Nanoseconds wait);
  void end_delay(SessionQuota& of) noexcept;
  void notice(Session& session, const quota::Verdict::Found& found);
  QuotaReport report_session(Session& session);
  QuotaReport set_session(Session& session, const quota::Limits& limits);

  // Keys (keys.cpp).
  quota::Key key_of(quota::QuotaScope scope, std::string_view name) const noexcept;
  runtime::CoreId owner_of(const quota::Key& key) const noexcept;
  quota::Share* attach_share(quota::QuotaScope scope, std::string_view name);
  void detach_share(quota::Share* share) noexcept;
  void end_or_keep(quota::Share& share) noexcept;
  void end_share(quota::Share& share) noexcept;
  void look_at_idle_shares() noexcept;
  void ask(const quota::AskTokens& ask) noexcept override;
  void take_grant(const quota::GrantTokens& grant) noexcept;
  void take_limits(const quota::Key& key, std::uint32_t life, const quota::Limits& limits,
                   std::uint32_t version);
  quota::Pool& pool_of(const quota::Key& key, quota::QuotaScope scope);
  void attach(const quota::Key& key, quota::QuotaScope scope, const quota::Pool::Sharer& sharer);
  void detach(const quota::Key& key, runtime::CoreId from) noexcept;
  void send_limits(const quota::Key& key, quota::Pool& pool, const quota::Pool::Sharer& to);
  void linger_if_unused(const quota::Key& key, quota::Pool& pool) noexcept;
  void forget_lingering() noexcept;
  QuotaReport report_key(const quota::Key& key, quota::QuotaScope scope);
  QuotaReport set_key(const quota::Key& key, quota::QuotaScope scope, const quota::Limits* limits);
  struct Located {
    quota::Key key;
    protocol::ErrorCode code;  // none: it is known
  };
  Located locate(const QuotaTarget& target) noexcept;

  QuotaOptions options_;
  runtime::Core& core_;
  QuotaCredit no_credit_ = QuotaCredit::none();
  runtime::Slab<SessionQuota> sessions_;
  tsl::robin_map<quota::Key, std::unique_ptr<quota::Share>, quota::KeyHash> shares_;
  tsl::robin_map<quota::Key, std::unique_ptr<quota::Pool>, quota::KeyHash> pools_;
  std::deque<quota::Key> idle_shares_;  // that had no session once; the oldest first
  std::deque<quota::Key> lingering_;    // pools that had no share once; the oldest first
  std::size_t own_pools_ = 0;           // that have limits of their own
  std::uint32_t share_lives_ = 0;
  Counters counters_;
};

}  // namespace corelane::services
