#pragma once
// TrialRing: a small ring on which features are tried, and what came of each request. Every wait
// has a deadline, so that a kernel that loses a completion costs a feature and not the start.
//
// For one thread, for as long as a probe takes. The buffers of its requests must outlive it.

#include <liburing.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <string>

namespace corelane::runtime {

class OwnedDescriptor {
 public:
  explicit OwnedDescriptor(int number = -1) noexcept : number_(number) {}
  OwnedDescriptor(const OwnedDescriptor&) = delete;
  OwnedDescriptor& operator=(const OwnedDescriptor&) = delete;
  ~OwnedDescriptor() {
    if (number_ >= 0) ::close(number_);
  }
  int number() const noexcept { return number_; }

 private:
  int number_;
};

// Requests that may be in flight, by user_data; one of each at a time.
enum TrialRequest : std::uint64_t {
  kReceive,
  kMessage,
  kMessageArrived,
  kTrialRequests,
};

class TrialRing {
 public:
  static constexpr unsigned kEntries = 8;

  // The result of a request so far.
  struct Seen {
    unsigned completions = 0;
    int result = 0;
    unsigned flags = 0;  // of the last completion
    bool ended() const noexcept { return completions != 0 && (flags & IORING_CQE_F_MORE) == 0; }
  };

  TrialRing() = default;
  TrialRing(const TrialRing&) = delete;
  TrialRing& operator=(const TrialRing&) = delete;
  ~TrialRing();

  // With the flags of our rings. 0, or the errno of the refusal; nothing else may be called then.
  int make() noexcept;

  io_uring* get() noexcept { return &ring_; }
  unsigned kernel_features() const noexcept { return kernel_features_; }  // IORING_FEAT_...

  // An entry to prepare, whose user_data the caller sets to `which` after that. Never null: each
  // step submits before the next one prepares. Forgets what came of earlier requests of this kind.
  io_uring_sqe* request(TrialRequest which) noexcept;
  // The same without an entry, for a completion that another request causes.
  void expect(TrialRequest which) noexcept { seen_[which] = {}; }

  // Hand requests over and take completions until this one has one, or its last one. False: the
  // patience ended.
  bool await_answer(TrialRequest which) noexcept;
  bool await_end(TrialRequest which) noexcept;
  const Seen& seen(TrialRequest which) const noexcept { return seen_[which]; }

 private:
  template <class Done>
  bool await(const Done& done) noexcept;
  void take_completions() noexcept;

  io_uring ring_{};
  bool made_ = false;
  unsigned kernel_features_ = 0;
  std::array<Seen, kTrialRequests> seen_{};
};

// Whether a seccomp filter ends the process that sets up a ring. A child process tries it.
bool setup_is_killed();

// The flags of our rings that this kernel refuses, each tried with those that it depends on, as
// "CQSIZE, CLAMP". Empty if none is refused by itself.
std::string refused_setup_flags();

}  // namespace corelane::runtime
