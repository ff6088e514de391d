#include "runtime/signals.hpp"

#include <poll.h>
#include <pthread.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>

#include "runtime/await.hpp"

namespace corelane::runtime {

BlockedSignals::BlockedSignals(std::initializer_list<int> signals) {
  sigemptyset(&set_);
  for (const int signal : signals) sigaddset(&set_, signal);
  pthread_sigmask(SIG_BLOCK, &set_, &previous_);
}

BlockedSignals::~BlockedSignals() {
  pthread_sigmask(SIG_SETMASK, &previous_, nullptr);
}

SignalStream::SignalStream(const BlockedSignals& blocked) {
  descriptor_.number = ::signalfd(-1, &blocked.set(), SFD_CLOEXEC | SFD_NONBLOCK);
  if (!descriptor_.valid()) create_errno_ = errno;
}

SignalStream::~SignalStream() {
  if (descriptor_.valid()) ::close(descriptor_.number);
}

// Any signal of the process wakes everything that waits at a signalfd. A read through the ring ends
// with EAGAIN after 128 wake-ups without a signal of ours (Linux 6.18, APOLL_MAX_RETRY); a poll
// tolerates any number. The signals of the stall monitor are more frequent than that.
Task<Result<int>> SignalStream::next() {
  if (!descriptor_.valid()) co_return Unexpected{Error::from_errno(create_errno_)};
  for (;;) {
    OperationAwaiter operation("signal", descriptor_, [&](Ring& ring, Token token) {
      ring.poll(descriptor_, POLLIN, token);
    });
    const auto polled = co_await operation;
    if (!polled) co_return Unexpected{polled.error()};
    signalfd_siginfo info{};
    const ssize_t bytes = ::read(descriptor_.number, &info, sizeof info);
    if (bytes < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (bytes < 0) co_return Unexpected{Error::from_errno(errno)};
    RT_ASSERT(bytes == sizeof info);
    co_return static_cast<int>(info.ssi_signo);
  }
}

}  // namespace corelane::runtime
