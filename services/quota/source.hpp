#pragma once
// Source: limits with the tokens that a request needs of them, on the core that serves it. A
// session has up to three: its own limits (OwnLimits, here), and its core's shares of those of its
// address and its principal (services/quota/share.hpp).
//
// Most requests do not come this far: a source gives a credit (QuotaCredit) of requests and bytes,
// which the session's dispatch takes from. When it is used up, or old, the source is asked:
//
//   settle()   takes from the limits what the credit was used for
//   check()    would a limit refuse this request?
//   charge()   no source refuses it: takes its tokens
//   grant()    a new credit, of what is certainly there
//
// A bucket loses what comes while it is full. What a credit was used for is taken when the credit
// ends, so the bucket may have been taken for full for as long as the credit lasted, at most 1/64
// of the time that fills it: a client may get up to 1/64 of the burst less than the limit says,
// never more.
//
// Belongs to one core. Times are those of Core::now().

#include <cstdint>
#include <vector>

#include "protocol/opcode.hpp"
#include "services/quota/limit.hpp"
#include "services/sessions/sessions.hpp"

namespace corelane::services::quota {

struct Cost {
  protocol::Opcode opcode = protocol::Opcode::None;
  QuotaClass opcode_class = QuotaClass::control;
  std::uint64_t bytes = 0;  // of the frame, with its size
};

struct Line {
  Line(const Limit& from, runtime::Nanoseconds now) : limit(from), bucket(from.rate, now) {}

  Limit limit;
  Bucket bucket;
  std::uint64_t used = 0;
  std::uint64_t exceeded = 0;
  runtime::Nanoseconds notice_from = 0;  // the next QuotaNotice not before
};

// What sources say of one request, or of what was sent. Lines are valid until limits change.
struct Verdict {
  struct Found {
    Line* line = nullptr;
    QuotaScope scope{};
    runtime::Nanoseconds wait = 0;  // Bucket::kNever: it can never pass
  };
  Found refused;  // by `reject` or `terminate`; with the longest wait, `terminate` first
  Found delayed;  // the longest
  Found warned;   // the last

  void refuse(const Found& found) noexcept;
};

class Source {
 public:
  explicit Source(QuotaScope scope) noexcept : scope_(scope) {}
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;
  virtual ~Source() = default;

  QuotaScope scope() const noexcept { return scope_; }
  std::vector<Line>& lines() noexcept { return lines_; }
  QuotaCredit& credit() noexcept { return credit_; }
  bool counts_sent() const noexcept;

  void settle(runtime::Nanoseconds now) noexcept;
  void check(const Cost& cost, runtime::Nanoseconds now, Verdict& verdict) noexcept;
  void charge(const Cost& cost, runtime::Nanoseconds now, Verdict& verdict) noexcept;
  void grant(runtime::Nanoseconds now) noexcept;
  // Of limits that are gone: nothing is settled.
  void forget_credit() noexcept { credit_ = granted_ = QuotaCredit::none(); }
  // What was sent cannot be refused: it may leave a debt, and then requests are refused or delayed.
  void charge_sent(std::uint32_t deliveries, std::uint64_t bytes, runtime::Nanoseconds now,
                   Verdict& verdict) noexcept;

  // The longest time until a debt of a limit that delays is paid; 0: there is none. It may be told
  // too short where another core has to be asked.
  runtime::Nanoseconds delay_left(runtime::Nanoseconds now) noexcept;

  // Tokens that the line has now, whole ones. After settle().
  virtual std::int64_t left(Line& line, runtime::Nanoseconds now) noexcept = 0;

 protected:
  // Whether `count` may be taken; 0: whether there is no debt.
  virtual bool has(Line& line, std::uint64_t count, runtime::Nanoseconds now) noexcept = 0;
  virtual void take(Line& line, std::uint64_t count, runtime::Nanoseconds now) noexcept = 0;
  // Until has() is true.
  virtual runtime::Nanoseconds wait_for(Line& line, std::uint64_t count,
                                        runtime::Nanoseconds now) noexcept = 0;
  // Until the debt is paid; 0: none.
  virtual runtime::Nanoseconds debt_time(Line& line, runtime::Nanoseconds now) noexcept = 0;
  // Tokens that a credit may use.
  virtual std::int64_t spare(Line& line, runtime::Nanoseconds now) noexcept = 0;
  // How long a credit may last.
  virtual runtime::Nanoseconds credit_time() const noexcept = 0;

  std::vector<Line> lines_;

 private:
  void take_counted(Line& line, std::uint64_t count, runtime::Nanoseconds now) noexcept;

  QuotaCredit credit_ = QuotaCredit::none();
  QuotaCredit granted_ = QuotaCredit::none();
  const QuotaScope scope_;
};

// The limits of one session.
class OwnLimits final : public Source {
 public:
  OwnLimits() noexcept : Source(QuotaScope::session) {}

  // In place of those it had, with full buckets.
  void set(const Limits& limits, runtime::Nanoseconds now);
  std::int64_t left(Line& line, runtime::Nanoseconds now) noexcept override {
    return line.bucket.level(now);
  }

 private:
  bool has(Line& line, std::uint64_t count, runtime::Nanoseconds now) noexcept override;
  void take(Line& line, std::uint64_t count, runtime::Nanoseconds now) noexcept override {
    line.bucket.charge(count, now);
  }
  runtime::Nanoseconds wait_for(Line& line, std::uint64_t count,
                                runtime::Nanoseconds now) noexcept override {
    return line.bucket.wait_for(count, now);
  }
  runtime::Nanoseconds debt_time(Line& line, runtime::Nanoseconds now) noexcept override {
    return line.bucket.wait_for(0, now);
  }
  std::int64_t spare(Line& line, runtime::Nanoseconds now) noexcept override {
    return line.bucket.level(now);
  }
  runtime::Nanoseconds credit_time() const noexcept override { return credit_time_; }

  runtime::Nanoseconds credit_time_ = 0;
};

}  // namespace corelane::services::quota
