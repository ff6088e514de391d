#include "runtime/watch.hpp"

#include <fcntl.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

#include "runtime/blocking.hpp"
#include "runtime/core.hpp"
#include "runtime/file_operation.hpp"
#include "runtime/ring.hpp"
#include "runtime/root.hpp"
#include "runtime/timeout.hpp"
#include "runtime/try.hpp"

namespace corelane::runtime {
namespace {

constexpr bool is(WatchKind kind, std::uint32_t bit) noexcept {
  return static_cast<std::uint32_t>(kind) == bit;
}
static_assert(is(WatchKind::accessed, IN_ACCESS) && is(WatchKind::modified, IN_MODIFY));
static_assert(is(WatchKind::attributes, IN_ATTRIB));
static_assert(is(WatchKind::closed_after_writing, IN_CLOSE_WRITE));
static_assert(is(WatchKind::moved_from, IN_MOVED_FROM) && is(WatchKind::moved_to, IN_MOVED_TO));
static_assert(is(WatchKind::created, IN_CREATE) && is(WatchKind::removed, IN_DELETE));
static_assert(is(WatchKind::self_removed, IN_DELETE_SELF));
static_assert(is(WatchKind::self_moved, IN_MOVE_SELF) && is(WatchKind::unmounted, IN_UNMOUNT));
static_assert(is(WatchKind::overflow, IN_Q_OVERFLOW) && is(WatchKind::ended, IN_IGNORED));

constexpr std::uint32_t kKinds = 0xffff;

// With a descriptor of its own: a wait that is given up leaves it running, and the Watcher may be
// gone then.
class AddWatch {
 public:
  AddWatch(File inotify, std::string path, std::uint32_t kinds) noexcept
      : inotify_(std::move(inotify)), path_(std::move(path)), kinds_(kinds) {}
  Result<WatchId> operator()() noexcept {
    const File inotify = std::move(inotify_);  // closed here: see Closing
    const int id = ::inotify_add_watch(inotify.descriptor().number, path_.c_str(), kinds_);
    if (id < 0) return Unexpected{Error::from_errno(errno)};
    return WatchId{id};
  }

 private:
  File inotify_;
  std::string path_;
  std::uint32_t kinds_;
};

// Closes an inotify descriptor outside of the core.
class Closing final : public CoreResident {
 public:
  explicit Closing(File inotify) noexcept : inotify_(std::move(inotify)) {}
  static detail::RootCoroutine run(Closing& self) {
    auto closes = [file = std::move(self.inotify_)]() mutable { file = File{}; };
    co_await blocking(std::move(closes));
    self.has_ended_ = true;
    Core::current().evict(self);
  }
  void begin_stop() noexcept override {}
  bool at_rest() const noexcept override { return has_ended_; }

 private:
  File inotify_;
  bool has_ended_ = false;
};

}  // namespace

Watcher& Watcher::operator=(Watcher&& other) noexcept {
  if (this == &other) return *this;
  close();
  events_ = std::move(other.events_);
  buffer_ = std::move(other.buffer_);
  begin_ = other.begin_;
  end_ = other.end_;
  return *this;
}

void Watcher::close() noexcept {
  begin_ = end_ = 0;
  if (!events_.is_open()) return;
  Core* const core = Core::current_or_null();
  File inotify = std::move(events_).release();
  // Otherwise it closes here: there is no core, or it takes no new work.
  if (core == nullptr || core->stopping()) return;
  auto closing = std::make_unique<Closing>(std::move(inotify));
  Closing& closes = *closing;
  core->adopt(std::move(closing));
  Closing::run(closes);
}

Result<Watcher> Watcher::make() {
  if (Ring::is_simulated()) return fail(ErrorCode::unsupported);
  const int number = ::inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  if (number < 0) return Unexpected{Error::from_errno(errno)};
  return Watcher(File(Descriptor{.number = number, .direct = false}));
}

Task<Result<WatchId>> Watcher::add(std::string path, std::uint32_t kinds) {
  if (!events_.is_open()) co_return fail(ErrorCode::closed);
  if (detail::has_nul(path)) co_return fail(ErrorCode::invalid_argument);
  const int number = ::fcntl(events_.descriptor().number, F_DUPFD_CLOEXEC, 0);
  if (number < 0) co_return Unexpected{Error::from_errno(errno)};
  AddWatch adds(File(Descriptor{.number = number, .direct = false}), std::move(path), kinds);
  // with_timeout makes an error of a cancel.
  co_return co_await with_timeout(kNever, blocking(std::move(adds)));
}

Result<void> Watcher::remove(WatchId watch) noexcept {
  if (!events_.is_open()) return fail(ErrorCode::closed);
  if (::inotify_rm_watch(events_.descriptor().number, static_cast<int>(watch)) != 0) {
    return Unexpected{Error::from_errno(errno)};
  }
  return {};
}

Task<Result<WatchEvent>> Watcher::next() {
  if (!events_.is_open()) co_return fail(ErrorCode::closed);
  if (begin_ == end_) {
    RT_TRY(const std::uint32_t bytes, co_await events_.read_some(*buffer_));
    begin_ = 0;
    end_ = bytes;
  }
  co_return take_event();
}

// Not a part of the coroutine: inotify_event ends with an array without a size, which g++ 12 does
// not accept in a frame.
WatchEvent Watcher::take_event() {
  inotify_event head{};
  RT_ASSERT(end_ - begin_ >= sizeof head);
  std::memcpy(&head, buffer_->data() + begin_, sizeof head);
  const auto* const name = reinterpret_cast<const char*>(buffer_->data() + begin_ + sizeof head);
  begin_ += sizeof head + head.len;
  return {.watch = WatchId{head.wd},
          .kind = static_cast<WatchKind>(head.mask & kKinds),
          .is_directory = (head.mask & IN_ISDIR) != 0,
          .cookie = head.cookie,
          .name = std::string(name, ::strnlen(name, head.len))};
}

}  // namespace corelane::runtime
