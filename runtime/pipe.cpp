#include "runtime/pipe.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "runtime/await.hpp"
#include "runtime/file_operation.hpp"
#include "runtime/pipe_elsewhere.hpp"
#include "runtime/ring.hpp"
#include "runtime/try.hpp"

namespace corelane::runtime {
namespace {

using detail::kFilePosition;
using detail::kTransferMax;

constexpr std::size_t kReadBytes = std::size_t{64} * 1024;  // what a pipe holds by default

struct Ends {
  File reader;
  File writer;
};

void ignore_sigpipe() noexcept {
  struct sigaction now{};
  if (::sigaction(SIGPIPE, nullptr, &now) != 0) return;
  if ((now.sa_flags & SA_SIGINFO) == 0 && now.sa_handler == SIG_DFL) {
    std::signal(SIGPIPE, SIG_IGN);
  }
}

File own(int number) noexcept {
  return File(Descriptor{.number = number, .direct = false});
}

// Where a program was started with closed standard streams, a pipe gets their numbers.
Result<File> above_standard_streams(File end) {
  if (end.descriptor().number > STDERR_FILENO) return end;
  const int number = ::fcntl(end.descriptor().number, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  if (number < 0) return Unexpected{Error::from_errno(errno)};
  return own(number);
}

Result<Ends> open_ends() {
  if (Ring::is_simulated()) return fail(ErrorCode::unsupported);
  ignore_sigpipe();
  int numbers[2];
  if (::pipe2(numbers, O_CLOEXEC) != 0) return Unexpected{Error::from_errno(errno)};
  Ends ends{own(numbers[0]), own(numbers[1])};
  RT_TRY_RETURN(ends.reader, above_standard_streams(std::move(ends.reader)));
  RT_TRY_RETURN(ends.writer, above_standard_streams(std::move(ends.writer)));
  return ends;
}

void never_block(const File& end) noexcept {
  const int number = end.descriptor().number;
  const int flags = ::fcntl(number, F_GETFL);
  ::fcntl(number, F_SETFL, flags | O_NONBLOCK);
}

// The operation answers at once, EAGAIN if it would wait; then a poll waits. So a cancel finds the
// poll, and no byte is moved by an operation that was given up.
template <class Operation>
Task<Result<std::uint32_t>> transfer(const char* what, const File& end, std::uint32_t events,
                                     Operation operation) {
  if (!end.is_open()) co_return fail(ErrorCode::closed);
  for (;;) {
    OperationAwaiter moves(what, end.descriptor(), operation);
    const auto moved = co_await moves;
    if (moved) co_return *moved;
    if (moved.error() == Error::from_errno(EINTR)) continue;
    if (moved.error() != Error::from_errno(EAGAIN)) co_return Unexpected{moved.error()};
    OperationAwaiter polls(what, end.descriptor(), [&](Ring& ring, Token token) {
      ring.poll(end.descriptor(), events, token);
    });
    RT_TRY_VOID(co_await polls);
  }
}

}  // namespace

Result<Pipe> make_pipe() {
  RT_TRY_RETURN(Ends ends, open_ends());
  never_block(ends.reader);
  never_block(ends.writer);
  return Pipe{PipeReader(std::move(ends.reader)), PipeWriter(std::move(ends.writer))};
}

Result<detail::ReaderElsewhere> detail::make_pipe_to_elsewhere() {
  RT_TRY_RETURN(Ends ends, open_ends());
  never_block(ends.writer);
  return ReaderElsewhere{std::move(ends.reader), PipeWriter(std::move(ends.writer))};
}

Result<detail::WriterElsewhere> detail::make_pipe_from_elsewhere() {
  RT_TRY_RETURN(Ends ends, open_ends());
  never_block(ends.reader);
  return WriterElsewhere{std::move(ends.writer), PipeReader(std::move(ends.reader))};
}

Task<Result<std::uint32_t>> PipeReader::read_some(std::span<std::byte> into) {
  const auto piece = into.first(std::min(into.size(), kTransferMax));
  const Descriptor from = end_.descriptor();
  const auto reads = [=](Ring& ring, Token token) { ring.read(from, piece, kFilePosition, token); };
  co_return co_await transfer("read of a pipe", end_, POLLIN, reads);
}

Task<Result<std::string>> PipeReader::read_all(std::size_t bytes_max) {
  std::string all;
  for (;;) {
    const std::size_t before = all.size();
    // One byte past the limit tells that there is more.
    all.resize(before + std::min(kReadBytes, bytes_max - before) + 1);
    const auto count = co_await read_some(std::as_writable_bytes(std::span{all}.subspan(before)));
    if (!count) co_return Unexpected{count.error()};
    all.resize(before + *count);
    if (*count == 0) co_return all;
    if (all.size() > bytes_max) {
      co_return fail(ErrorCode::limit_exceeded,
                     static_cast<std::int32_t>(std::min<std::size_t>(bytes_max, INT32_MAX)));
    }
  }
}

Task<Result<std::uint32_t>> PipeWriter::write_some(std::span<const std::byte> bytes) {
  const auto piece = bytes.first(std::min(bytes.size(), kTransferMax));
  const Descriptor to = end_.descriptor();
  const auto writes = [=](Ring& ring, Token token) { ring.write(to, piece, kFilePosition, token); };
  co_return co_await transfer("write to a pipe", end_, POLLOUT, writes);
}

Task<Result<void>> PipeWriter::write_all(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    RT_TRY(const std::uint32_t count, co_await write_some(bytes));
    bytes = bytes.subspan(count);
  }
  co_return Result<void>{};
}

}  // namespace corelane::runtime
