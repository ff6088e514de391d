#include "runtime/standard_stream.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <cstdio>

namespace corelane::runtime {
namespace {

constexpr int kRetryMs = 10;

std::int64_t now_ms() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

mode_t kind_of(int descriptor) noexcept {
  struct stat about{};
  return ::fstat(descriptor, &about) == 0 ? about.st_mode & S_IFMT : 0;
}

long result_of(ssize_t result) noexcept {
  return result >= 0 ? result : -long{errno};
}

}  // namespace

long write_available(int descriptor, std::string_view text) noexcept {
  const mode_t kind = kind_of(descriptor);
  if (kind == S_IFSOCK) {
    return result_of(::send(descriptor, text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL));
  }
  // A file system may answer RWF_NOWAIT with EAGAIN for as long as it has no block at hand.
  if (kind == S_IFREG) return result_of(::write(descriptor, text.data(), text.size()));
  pollfd ready{.fd = descriptor, .events = POLLOUT, .revents = 0};
  const int polled = ::poll(&ready, 1, 0);
  if (polled == 0) return -EAGAIN;
  if (polled < 0) return -long{errno};
  const std::size_t bytes = std::min<std::size_t>(text.size(), PIPE_BUF);
  const iovec piece{.iov_base = const_cast<char*>(text.data()), .iov_len = bytes};
  const long written = result_of(::pwritev2(descriptor, &piece, 1, -1, RWF_NOWAIT));
  if (written != -EOPNOTSUPP && written != -ENOSYS && written != -EINVAL) return written;
  return result_of(::write(descriptor, text.data(), bytes));
}

void write_within(int descriptor, std::string_view text, int milliseconds) noexcept {
  const std::int64_t end = now_ms() + milliseconds;
  const int terminal = own_terminal(descriptor);
  const int to = terminal >= 0 ? terminal : descriptor;
  while (!text.empty()) {
    const long written = write_available(to, text);
    if (written > 0) {
      text.remove_prefix(static_cast<std::size_t>(written));
      continue;
    }
    if (written != -EAGAIN && written != -EINTR) break;
    const std::int64_t left = end - now_ms();
    if (left <= 0) break;
    // A stream socket may have room and not enough of it, so never without an end.
    pollfd ready{.fd = to, .events = POLLOUT, .revents = 0};
    if (::poll(&ready, 1, static_cast<int>(left)) > 0) {
      ::poll(nullptr, 0, static_cast<int>(std::min<std::int64_t>(left, kRetryMs)));
    }
  }
  if (terminal >= 0) ::close(terminal);
}

int own_terminal(int descriptor) noexcept {
  if (::isatty(descriptor) == 0) return -1;
  std::array<char, 32> path;
  std::snprintf(path.data(), path.size(), "/proc/self/fd/%d", descriptor);
  return ::open(path.data(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

void hold_standard_descriptors() noexcept {
  int descriptor = 0;
  do {
    descriptor = ::open("/dev/null", O_RDWR);
  } while (descriptor >= 0 && descriptor <= STDERR_FILENO);
  if (descriptor >= 0) ::close(descriptor);
}

}  // namespace corelane::runtime
