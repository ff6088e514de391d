#pragma once
// Limits of a key (an address or a principal) whose sessions lie on several cores. One core owns
// the key, by XXH3 of its name, and has its buckets (Pool). Every core with sessions of the key has
// a Share: tokens that the owner has given it in advance, a batch at a time, so that requests are
// decided on their own core.
//
//   session's core --Ask (tokens wanted)--> owner: takes them from the bucket
//                  <--Grant (tokens, or the time to wait)--
//                  --GiveBack--> (the last session of the key here has ended; a share that owes
//                                tokens, or was told to wait, stays until it does not: otherwise
//                                a client that connects again would be lent more)
//
// A share asks when it begins, and when it has less than half of a batch. While the answer is on
// its way it lends, so no client waits for a message between cores; once the owner says that there
// is nothing, it lends nothing until there is. So in any time T all sessions of a key together get
// at most burst + rate x T, and for each core a batch, what it lends, and one request. A batch is
// 1/16 of the burst by the number of cores, at least 1 token; it lends 1/4 of the burst by the
// number of cores, at least 4: the overshoot is 5/16 of the burst, or 6 tokens a core where that is
// more. (One request: limits of bytes let a request begin that their last tokens do not cover, and
// wait for the rest.)

#include <cstdint>
#include <vector>

#include "services/quota/source.hpp"

namespace corelane::services::quota {

// 128 bits of XXH3 of scope and name, seeded: two keys never meet.
struct Key {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  friend bool operator==(const Key&, const Key&) = default;
};
struct KeyHash {
  // The owner is chosen by the other half, in which the keys of a core agree.
  std::size_t operator()(const Key& key) const noexcept { return key.high; }
};

// Wanted from one line of a key's pool. `version` counts the changes of its limits: what belongs to
// earlier ones is dropped.
struct AskTokens {
  Key key;
  std::uint32_t version;
  std::uint32_t line;
  std::int64_t wanted;  // at most
  std::int64_t needed;  // for one more request; more than that may be missing
};
struct GrantTokens {
  Key key;
  std::uint32_t version;
  std::uint32_t line;
  std::int64_t granted;
  runtime::Nanoseconds wait;  // until the needed ones are there; 0: granted
};
struct GiveBackTokens {
  Key key;
  std::uint32_t version;
  std::uint32_t line;
  std::int64_t tokens;  // below 0: what was lent
};

// What a share needs of the service: sends an ask to the owner. If that is this core, take() of the
// share is called before it returns.
class Asker {
 public:
  virtual void ask(const AskTokens& ask) noexcept = 0;

 protected:
  ~Asker() = default;
};

// One core's part of a key.
class Share final : public Source {
 public:
  // `life`: another number for each share of this core.
  Share(QuotaScope scope, const Key& key, std::uint32_t life, runtime::CoreId cores,
        Asker& asker) noexcept
      : Source(scope), key_(key), life_(life), cores_(cores), asker_(asker) {}

  const Key& key() const noexcept { return key_; }
  std::uint32_t life() const noexcept { return life_; }
  std::uint32_t version() const noexcept { return version_; }
  // In place of those it had; without tokens, which ask_all() asks for.
  void set(const Limits& limits, std::uint32_t version, runtime::Nanoseconds now);
  void ask_all(runtime::Nanoseconds now) noexcept;
  void take(const GrantTokens& grant, runtime::Nanoseconds now) noexcept;
  // Nothing of what the owner has said would be lost with it: no answer is on its way, nothing is
  // lent, and the owner has not said that there is nothing. Asks for what is lent.
  bool may_end(runtime::Nanoseconds now) noexcept;
  // Empties a line, to be given back to the owner.
  std::int64_t take_all(std::size_t line) noexcept;

  std::uint32_t sessions = 0;  // that count here
  bool is_listed = false;      // among those without sessions

  std::int64_t left(Line& line, runtime::Nanoseconds now) noexcept override;

 private:
  struct Allowance {
    std::int64_t tokens = 0;  // below 0: lent
    std::int64_t batch = 1;
    bool is_asked = false;
    runtime::Nanoseconds none_until = 0;  // by the owner's last answer
  };

  Allowance& allowance(const Line& line) noexcept {
    return allowances_[static_cast<std::size_t>(&line - lines_.data())];
  }
  std::int64_t lends(const Line& line) noexcept;
  void ask_if_low(const Line& line, runtime::Nanoseconds now) noexcept;

  bool has(Line& line, std::uint64_t count, runtime::Nanoseconds now) noexcept override;
  void take(Line& line, std::uint64_t count, runtime::Nanoseconds now) noexcept override;
  runtime::Nanoseconds wait_for(Line& line, std::uint64_t count,
                                runtime::Nanoseconds now) noexcept override;
  runtime::Nanoseconds debt_time(Line& line, runtime::Nanoseconds now) noexcept override;
  std::int64_t spare(Line& line, runtime::Nanoseconds now) noexcept override;
  runtime::Nanoseconds credit_time() const noexcept override { return Bucket::kNever; }

  const Key key_;
  const std::uint32_t life_;
  const runtime::CoreId cores_;
  Asker& asker_;
  std::uint32_t version_ = 0;
  std::vector<Allowance> allowances_;
};

// The owner's part of a key: what is left to give.
class Pool {
 public:
  explicit Pool(QuotaScope scope) noexcept : scope_(scope) {}

  QuotaScope scope() const noexcept { return scope_; }
  std::uint32_t version() const noexcept { return version_; }
  std::vector<Line>& lines() noexcept { return lines_; }
  // In place of those it had, with full buckets. A new version, but for the first limits.
  void set(const Limits& limits, bool is_own, runtime::Nanoseconds now);
  // False: the ask is about earlier limits, and gets no answer.
  bool give(const AskTokens& ask, runtime::Nanoseconds now, GrantTokens& grant) noexcept;
  void take_back(const GiveBackTokens& back, runtime::Nanoseconds now) noexcept;

  // Has limits of its own, not those of the configuration.
  bool has_own() const noexcept { return has_own_; }
  // A new one would be the same.
  bool is_full(runtime::Nanoseconds now) noexcept;

  struct Sharer {
    runtime::CoreId core;
    std::uint32_t life;  // of its share
  };
  std::vector<Sharer> sharers;
  bool lingers = false;  // in the list of those without a share

 private:
  const QuotaScope scope_;
  std::uint32_t version_ = 0;
  bool is_set_ = false;
  bool has_own_ = false;
  std::vector<Line> lines_;
};

}  // namespace corelane::services::quota
