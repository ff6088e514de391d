#include "runtime/standard_io.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <string>

#include "runtime/await.hpp"
#include "runtime/file_operation.hpp"
#include "runtime/ring.hpp"
#include "runtime/try.hpp"

namespace corelane::runtime {
namespace {

// Another process has taken the input that the poll saw, or a socket has too little room.
constexpr Nanoseconds kRetry = 10 * kMillisecond;

using detail::kFilePosition;

constexpr Descriptor plain(int descriptor) noexcept {
  return {.number = descriptor, .direct = false};
}

// False: cancelled. What cannot be polled, a file, is always ready.
Task<bool> until_ready(int descriptor, std::uint32_t events) {
  OperationAwaiter poll(
      [=](Ring& ring, Token token) { ring.poll(plain(descriptor), events, token); });
  const auto ready = co_await poll;
  co_return ready || ready.error().code != ErrorCode::cancelled;
}

// -1: it is none.
int open_terminal(int descriptor) noexcept {
  unsigned pair = 0;
  // The side of a pseudo-terminal that it is made with: opening it makes another one.
  const bool is_master = ::ioctl(descriptor, TIOCGPTN, &pair) == 0;
  if (::isatty(descriptor) == 0 || is_master) return -1;
  const int mode = ::fcntl(descriptor, F_GETFL) & O_ACCMODE;
  const std::string path = fmt::format("/proc/self/fd/{}", descriptor);
  return ::open(path.c_str(), mode | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

Result<std::uint32_t> result_of_call(ssize_t count) noexcept {
  if (count < 0) return Unexpected{Error::from_errno(errno)};
  return static_cast<std::uint32_t>(count);
}

// The next step of a transfer; `done`: it has its result.
enum class Next : std::uint8_t { done, again, later, by_call };

Next next_of(const Result<std::uint32_t>& result) noexcept {
  if (result) return Next::done;
  const Error& error = result.error();
  // By request, or because the kernel could make no thread: the next poll tells.
  if (error.code == ErrorCode::cancelled) return Next::by_call;
  if (error == Error::from_errno(EINTR)) return Next::again;
  if (error == Error::from_errno(EAGAIN)) return Next::later;
  return Next::done;
}

// The poll comes first although the operation would wait itself: a poll ends for certain when it is
// cancelled. An operation that a thread of the kernel has just found blocked, and is about to
// watch, does not hear of it (IORING_ASYNC_CANCEL says EALREADY), and would never end.
template <class Operation, class Call>
Task<Result<std::uint32_t>> transfer(int descriptor, std::uint32_t events,
                                     const Operation& operation, const Call& call) {
  for (;;) {
    const bool ready = co_await until_ready(descriptor, events);
    if (!ready) co_return fail(ErrorCode::cancelled);
    OperationAwaiter awaiter(operation);
    auto result = co_await awaiter;
    Next next = next_of(result);
    if (next == Next::by_call) {
      const bool ready_again = co_await until_ready(descriptor, events);
      if (!ready_again) co_return fail(ErrorCode::cancelled);
      result = result_of_call(call());
      next = next_of(result);
    }
    if (next == Next::done) co_return result;
    if (next == Next::later) {
      const bool slept = co_await sleep_for(kRetry);
      if (!slept) co_return fail(ErrorCode::cancelled);
    }
  }
}

}  // namespace

StandardDescriptor::StandardDescriptor(int number) noexcept
    : number_(number), own_terminal_(open_terminal(number)) {}

StandardDescriptor::~StandardDescriptor() {
  if (own_terminal_ >= 0) ::close(own_terminal_);
}

Task<Result<std::uint32_t>> read_some(const StandardDescriptor& descriptor,
                                      std::span<std::byte> into) {
  const int number = descriptor.number();
  const auto operation = [=](Ring& ring, Token token) {
    ring.read(plain(number), into, kFilePosition, token);
  };
  const auto call = [=] { return ::read(number, into.data(), into.size()); };
  co_return co_await transfer(number, POLLIN, operation, call);
}

Task<Result<std::uint32_t>> write_some(const StandardDescriptor& descriptor,
                                       std::span<const std::byte> bytes) {
  const int number = descriptor.number();
  const auto operation = [=](Ring& ring, Token token) {
    ring.write(plain(number), bytes, kFilePosition, token);
  };
  // As much as a pipe takes for certain after such a poll.
  const auto call = [=] {
    return ::write(number, bytes.data(), std::min<std::size_t>(bytes.size(), PIPE_BUF));
  };
  co_return co_await transfer(number, POLLOUT, operation, call);
}

Task<Result<void>> write_all(const StandardDescriptor& descriptor,
                             std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    RT_TRY(const std::uint32_t count, co_await write_some(descriptor, bytes));
    bytes = bytes.subspan(count);
  }
  co_return Result<void>{};
}

Task<bool> until_reader_gone(const StandardDescriptor& descriptor) {
  const int number = descriptor.number();
  OperationAwaiter poll([=](Ring& ring, Token token) { ring.poll(plain(number), 0, token); });
  const auto seen = co_await poll;
  // A socket whose peer has only ended its own direction (POLLRDHUP) is still read.
  co_return seen && (*seen & (POLLERR | POLLHUP)) != 0;
}

}  // namespace corelane::runtime
