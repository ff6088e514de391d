#include "runtime/log_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <string_view>

#include "runtime/log.hpp"

namespace corelane::runtime {
namespace {

// Lives as long as the process: the log's thread is never joined.
struct LogFile {
  std::string path;
  int descriptor = -1;        // the thread's, once it runs
  std::atomic<int> next{-1};  // opened for the thread, not yet taken
  std::uint64_t lost = 0;     // lines
};

LogFile& file() {
  static LogFile* const only = new LogFile;
  return *only;
}

Result<int> open_for_appending(const std::string& path) {
  // A FIFO that nobody reads is an error (ENXIO): to wait for a reader would be to wait for ever.
  constexpr int kFlags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK;
  const int descriptor = ::open(path.c_str(), kFlags, 0640);
  if (descriptor < 0) return Unexpected{Error::from_errno(errno)};
  ::fcntl(descriptor, F_SETFL, O_WRONLY | O_APPEND);  // the log's own thread may wait
  return descriptor;
}

// False: not all of it could be written.
bool write_all(int descriptor, std::string_view text) noexcept {
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

bool tell_lost(LogFile& to) noexcept {
  std::array<char, 128> text;
  const int bytes = std::snprintf(text.data(), text.size(),
                                  "%llu log lines were lost: the file did not take them\n",
                                  static_cast<unsigned long long>(to.lost));
  return write_all(to.descriptor, {text.data(), static_cast<std::size_t>(bytes)});
}

// On the log's thread. It must not log.
void take_lines(void* context, std::string_view lines) noexcept {
  LogFile& to = *static_cast<LogFile*>(context);
  // Acquire pairs with the release in reopen_log_file().
  if (const int next = to.next.exchange(-1, std::memory_order_acquire); next >= 0) {
    ::close(to.descriptor);
    to.descriptor = next;
  }
  if (to.lost != 0 && tell_lost(to)) to.lost = 0;
  if (to.lost == 0 && write_all(to.descriptor, lines)) return;
  to.lost += static_cast<std::uint64_t>(std::ranges::count(lines, '\n'));
}

}  // namespace

Result<void> open_log_file(const std::string& path) {
  const auto descriptor = open_for_appending(path);
  if (!descriptor) return Unexpected{descriptor.error()};
  file().path = path;
  file().descriptor = *descriptor;
  set_log_sink(take_lines, &file());
  return {};
}

Result<void> reopen_log_file() {
  if (file().path.empty()) return {};
  const auto descriptor = open_for_appending(file().path);
  if (!descriptor) return Unexpected{descriptor.error()};
  const int not_taken = file().next.exchange(*descriptor, std::memory_order_acq_rel);
  if (not_taken >= 0) ::close(not_taken);
  return {};
}

}  // namespace corelane::runtime
