// The production thread of runtime/foreign.hpp: sleeps on a futex, its wake word in the lanes.

#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <system_error>
#include <thread>

#include "runtime/foreign.hpp"
#include "runtime/post.hpp"

namespace corelane::runtime::detail {
namespace {

// While answers wait for room in a lane; as long as a core waits then (core.cpp, kBacklogRetry).
constexpr timespec kRoomRetry{.tv_sec = 0, .tv_nsec = 20'000};

static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t));

// futex(2). Ends also when the word differs, by a signal, or for no reason.
void futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t value, const timespec* timeout) {
  ::syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, value, timeout, nullptr, 0);
}
void futex_wake(std::atomic<std::uint32_t>& word) {
  ::syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

class Thread final : public ForeignThread, private ThreadWaker {
 public:
  explicit Thread(ForeignBase& of) noexcept : of_(of) {}
  ~Thread() override { RT_ASSERT(!thread_.joinable()); }

  ThreadWaker& waker() noexcept override { return *this; }

  // With every signal blocked: they are for the cores and their signalfd.
  Result<void> start(const char* name) override {
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    Result<void> started{};
    try {
      thread_ = std::thread([this] { run(); });
      ::pthread_setname_np(thread_.native_handle(), name);
    } catch (const std::system_error& error) {
      started = Unexpected{Error::from_errno(error.code().value())};
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return started;
  }
  void join() noexcept override { thread_.join(); }

 private:
  void wake() noexcept override { futex_wake(of_.sleeping()); }

  void run() noexcept {
    set_runtime_of_thread(&of_.runtime());
    for (;;) {
      switch (of_.step()) {
        case ForeignBase::Step::worked:
          break;
        case ForeignBase::Step::waits_for_room:
          futex_wait(never_woken_, 0, &kRoomRetry);
          break;
        case ForeignBase::Step::idle:
          if (of_.going_to_sleep()) futex_wait(of_.sleeping(), 1, nullptr);
          of_.awake();
          break;
        case ForeignBase::Step::ended:
          return;
      }
    }
  }

  ForeignBase& of_;
  std::atomic<std::uint32_t> never_woken_{0};
  std::thread thread_;
};

}  // namespace

std::unique_ptr<ForeignThread> make_foreign_thread(ForeignBase& of) {
  return std::make_unique<Thread>(of);
}

}  // namespace corelane::runtime::detail
