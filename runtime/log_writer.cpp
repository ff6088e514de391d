#include "runtime/log_writer.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "runtime/log_line.hpp"
#include "runtime/standard_stream.hpp"

namespace corelane::runtime {
namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;
constexpr int kRetryMs = 10;
constexpr int kSecondMs = 1000;
constexpr int kLastWordsMs = 500;
constexpr std::string_view kCut = " [cut]";
// The thread keeps one buffer of lines; the rest is for sanitizers and static thread-local storage.
constexpr std::size_t kStackBytes = 256 * 1024;

std::int64_t wall_ns() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return std::int64_t{now.tv_sec} * kSecondNs + now.tv_nsec;
}

// The notice of lost lines in a format: what a queue calls has no context.
template <LogFormat kFormat>
std::size_t lost_notice(std::uint64_t lost, std::span<char> to) noexcept {
  std::array<char, 64> text;
  const int bytes =
      std::snprintf(text.data(), text.size(), "%llu log line%s lost: nobody read them in time",
                    static_cast<unsigned long long>(lost), lost == 1 ? " was" : "s were");
  LogLine line(kFormat, LogLevel::warning, wall_ns());
  line.add_message({text.data(), static_cast<std::size_t>(bytes)});
  const std::string_view whole = line.finished();
  if (whole.size() > to.size()) return 0;
  std::memcpy(to.data(), whole.data(), whole.size());
  return whole.size();
}

LineQueue::MakeNotice notice_in(LogFormat format) noexcept {
  switch (format) {
    case LogFormat::logfmt:
      return lost_notice<LogFormat::logfmt>;
    case LogFormat::json:
      return lost_notice<LogFormat::json>;
    case LogFormat::text:
      break;
  }
  return lost_notice<LogFormat::text>;
}

std::uint64_t lines_in(std::string_view text) noexcept {
  return static_cast<std::uint64_t>(std::count(text.begin(), text.end(), '\n'));
}

}  // namespace

// While writes fail a notice would be lost with the lines that it counts.
void Log::push_log(std::string_view lines) noexcept {
  err_.queue.push(lines, lost_,
                  err_.failing.load(std::memory_order_relaxed) ? nullptr : notice_in(format()));
}

void Log::write(LogLevel level, std::string_view text, std::span<const LogField> fields) noexcept {
  if (!enabled(level)) return;
  LogLine line(format(), level, wall_ns());
  line.add_message(text);
  for (const LogField& field : fields) line.add_field(field);
  push_log(line.finished());
  wake();
}

void Log::write_block(std::string_view lines) noexcept {
  // Elsewhere a line is an event: the block is one, whatever the level that is written.
  if (format() != LogFormat::text) {
    LogLine line(format(), LogLevel::warning, wall_ns());
    line.add_message(lines.substr(0, lines.size() - (lines.ends_with('\n') ? 1 : 0)));
    push_log(line.finished());
    wake();
    return;
  }
  while (!lines.empty()) {
    std::string_view piece = lines.substr(0, LineQueue::kLineBytesMax);
    const std::size_t newline = piece.rfind('\n');
    if (newline == std::string_view::npos) {
      // A line of its own that is too long: what fits of it.
      const std::string_view whole = lines.substr(0, lines.find('\n'));
      std::array<char, LineQueue::kLineBytesMax> cut;
      const std::size_t bytes = std::min(whole.size(), cut.size() - kCut.size() - 1);
      std::memcpy(cut.data(), whole.data(), bytes);
      std::memcpy(cut.data() + bytes, kCut.data(), kCut.size());
      const std::size_t end = bytes + (bytes < whole.size() ? kCut.size() : 0);
      cut[end] = '\n';
      push_log({cut.data(), end + 1});
      lines.remove_prefix(std::min(lines.size(), whole.size() + 1));
      continue;
    }
    piece = piece.substr(0, newline + 1);
    push_log(piece);
    lines.remove_prefix(piece.size());
  }
  wake();
}

void Log::print(std::string_view text) noexcept {
  LogLine line{LogLine::Bare{}};
  line.add_message(text);
  out_.queue.push(line.finished(), lost_, nullptr);
  wake();
}

// A word for the second and its lines, changed at once: cores that log at the same time admit no
// line too many. All relaxed: nothing else is read by what these words say.
bool Log::admits(LogReason& reason, LogLevel level) noexcept {
  const auto second = static_cast<std::uint64_t>(clock_() / kSecondNs);
  std::uint64_t seen = reason.admitted_.load(std::memory_order_relaxed);
  for (;;) {
    const std::uint64_t base = second << 32;
    const bool same = seen >> 32 == (base >> 32);
    const auto lines = static_cast<std::uint32_t>(seen);
    if (same && lines >= LogReason::kLinesPerSecond) break;
    const std::uint64_t next = same ? seen + 1 : base + 1;
    if (reason.admitted_.compare_exchange_weak(seen, next, std::memory_order_relaxed)) {
      if (!same) tell_left_out(reason);
      return true;
    }
  }
  reason.level_.store(static_cast<std::uint8_t>(level), std::memory_order_relaxed);
  reason.left_out_.fetch_add(1, std::memory_order_relaxed);
  if (!reason.listed_.exchange(true, std::memory_order_relaxed)) {
    // Release pairs with the acquire in tell_left_out(): next_ is written.
    reason.next_ = reasons_.load(std::memory_order_relaxed);
    while (!reasons_.compare_exchange_weak(reason.next_, &reason, std::memory_order_release,
                                           std::memory_order_relaxed)) {
    }
  }
  if (!some_left_out_.exchange(true, std::memory_order_release)) wake();
  return false;
}

void Log::tell_left_out(LogReason& reason) noexcept {
  const std::uint64_t count = reason.left_out_.exchange(0, std::memory_order_relaxed);
  if (count == 0) return;
  LogLine line(format(), static_cast<LogLevel>(reason.level_.load(std::memory_order_relaxed)),
               wall_ns());
  line.add_message(reason.name_);
  std::array<char, 32> more;
  std::snprintf(more.data(), more.size(), ": %llu more", static_cast<unsigned long long>(count));
  line.add_message(more.data());
  push_log(line.finished());
}

// Logs the number of suppressed lines, of all reasons, or only of reasons whose second is over.
void Log::tell_left_out(bool all) noexcept {
  if (!some_left_out_.exchange(false, std::memory_order_acquire)) return;
  const auto second = static_cast<std::uint64_t>(clock_() / kSecondNs);
  bool some_stay = false;
  for (LogReason* reason = reasons_.load(std::memory_order_acquire); reason != nullptr;
       reason = reason->next_) {
    if (all || reason->admitted_.load(std::memory_order_relaxed) >> 32 != (second & 0xffffffff)) {
      tell_left_out(*reason);
    } else {
      some_stay |= reason->left_out_.load(std::memory_order_relaxed) != 0;
    }
  }
  if (some_stay) some_left_out_.store(true, std::memory_order_relaxed);
}

bool Log::start() noexcept {
  if (started_.load(std::memory_order_relaxed)) return true;
  hold_standard_descriptors();
  event_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (event_ < 0) return false;
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  ::pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  ::pthread_attr_setstacksize(&attributes, kStackBytes);
  // The thread inherits a full mask: the process's signals go to other threads, and the SIGPIPE of
  // its own writes stays blocked.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const int error = ::pthread_create(&thread_, &attributes, run_thread, this);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::pthread_attr_destroy(&attributes);
  if (error != 0) {
    ::close(event_);
    event_ = -1;
    return false;
  }
  started_.store(true, std::memory_order_release);
  return true;
}

void* Log::run_thread(void* self) noexcept {
  ::pthread_setname_np(::pthread_self(), "log");
  static_cast<Log*>(self)->run();
  return nullptr;
}

void Log::run() noexcept {
  for (;;) {
    wait_for_work();
    tell_left_out(false);
    tell_lost();
  }
}

// Sleeps until there is something to write and the stream takes it, and writes a piece of it.
void Log::wait_for_work() noexcept {
  std::array<pollfd, 3> waited{pollfd{.fd = event_, .events = POLLIN, .revents = 0},
                               pollfd{.fd = -1, .events = POLLOUT, .revents = 0},
                               pollfd{.fd = -1, .events = POLLOUT, .revents = 0}};
  int timeout = some_left_out_.load(std::memory_order_relaxed) ? kSecondMs : -1;
  const std::array streams{&out_, &err_};
  for (std::size_t i = 0; i < streams.size(); ++i) {
    Stream& stream = *streams[i];
    if (goes_to_sink(stream)) {
      if (!stream.queue.empty()) timeout = 0;
      continue;
    }
    if (stream.no_room) timeout = kRetryMs;
    if (!stream.queue.empty() && !stream.no_room) waited[i + 1].fd = stream.descriptor;
    stream.no_room = false;
  }
  const int ready = ::poll(waited.data(), waited.size(), timeout);
  if (goes_to_sink(err_)) write_out(err_);
  if (ready <= 0) return;
  std::uint64_t count = 0;
  if (waited[0].revents != 0 && ::read(event_, &count, sizeof count) < 0) return;
  for (std::size_t i = 0; i < streams.size(); ++i) {
    if (waited[i + 1].revents != 0) write_out(*streams[i]);
  }
}

void Log::wake() noexcept {
  if (!started_.load(std::memory_order_acquire)) {
    write_without_thread();
    return;
  }
  const std::uint64_t one = 1;
  // The counter cannot overflow before 2^64 lines have been logged.
  [[maybe_unused]] const ssize_t written = ::write(event_, &one, sizeof one);
}

void Log::take_terminals() noexcept {
  if (terminals_taken_) return;
  terminals_taken_ = true;
  for (Stream* stream : {&out_, &err_}) {
    const int terminal = own_terminal(stream->descriptor);
    if (terminal >= 0) stream->descriptor = terminal;
  }
}

// One thread at a time; another one leaves its line to that thread.
void Log::write_without_thread() noexcept {
  for (;;) {
    if (writing_.exchange(true, std::memory_order_acquire)) return;
    bool blocked = false;
    take_terminals();
    for (Stream* stream : {&out_, &err_}) {
      while (!stream->queue.empty()) {
        if (!write_out(*stream)) {
          blocked = true;
          break;
        }
      }
    }
    tell_lost();
    writing_.store(false, std::memory_order_release);
    if (blocked || idle()) return;
  }
}

// A piece of the queue. False if nothing could be written.
bool Log::write_out(Stream& stream) noexcept {
  std::array<char, LineQueue::kLineBytesMax> piece;
  const std::size_t bytes = stream.queue.peek(piece);
  if (bytes == 0) return true;
  long written = 0;
  if (goes_to_sink(stream)) {
    sink_(sink_context_, {piece.data(), bytes});
    written = static_cast<long>(bytes);
  } else if (started_.load(std::memory_order_relaxed)) {
    written = ::write(stream.descriptor, piece.data(), bytes);
    if (written < 0) written = -errno;
  } else {
    written = write_available(stream.descriptor, {piece.data(), bytes});
  }
  if (written == -EAGAIN || written == -EINTR || written == 0) {
    stream.no_room = true;
    return false;
  }
  stream.failing.store(written < 0, std::memory_order_relaxed);
  if (written < 0) {
    lost_.fetch_add(lines_in({piece.data(), bytes}), std::memory_order_relaxed);
    stream.queue.drop(bytes);
  } else {
    stream.queue.drop(static_cast<std::size_t>(written));
  }
  return true;
}

// The queue has run empty after a loss, and no line has come that could bring the notice with it.
void Log::tell_lost() noexcept {
  if (lost_.load(std::memory_order_relaxed) == 0 || err_.failing.load(std::memory_order_relaxed) ||
      !err_.queue.empty())
    return;
  const std::uint64_t lost = lost_.exchange(0, std::memory_order_relaxed);
  if (lost == 0) return;
  std::array<char, 256> text;
  // If the notice itself is lost, push() counts one lost line; the others are added back.
  if (!err_.queue.push({text.data(), notice_in(format())(lost, text)}, lost_, nullptr)) {
    lost_.fetch_add(lost - 1, std::memory_order_relaxed);
  }
}

void Log::flush(int milliseconds) noexcept {
  tell_left_out(true);
  const std::int64_t end = clock_() + std::int64_t{milliseconds} * 1'000'000;
  wake();
  while (!idle() && clock_() < end) {
    ::poll(nullptr, 0, 1);
    wake();
  }
}

void Log::last_words(std::string_view text) noexcept {
  const bool own_thread =
      started_.load(std::memory_order_acquire) && ::pthread_equal(::pthread_self(), thread_) != 0;
  // A SIGPIPE must not end the process in place of the abort.
  sigset_t pipe;
  ::sigemptyset(&pipe);
  ::sigaddset(&pipe, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
  if (!own_thread) flush(kLastWordsMs);
  write_within(err_.descriptor, text, kLastWordsMs);
}

}  // namespace corelane::runtime
