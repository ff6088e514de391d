#include "runtime/signals.hpp"

#include <pthread.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>

#include "runtime/await.hpp"

namespace runtime {

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

Task<Result<int>> SignalStream::next() {
  if (!descriptor_.valid()) co_return Unexpected{Error::from_errno(create_errno_)};
  signalfd_siginfo info{};
  OperationAwaiter operation([&](Ring& ring, Token token) {
    ring.read(descriptor_, std::as_writable_bytes(std::span{&info, 1}), 0, token);
  });
  const auto bytes = co_await operation;
  if (!bytes) co_return Unexpected{bytes.error()};
  RT_ASSERT(*bytes == sizeof info);
  co_return static_cast<int>(info.ssi_signo);
}

}  // namespace runtime
