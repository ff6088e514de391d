#pragma once
// Changes of files and directories, as they happen: inotify(7), read by the ring.
//
//   RT_TRY(Watcher watcher, Watcher::make());
//   RT_TRY(const WatchId spool, co_await watcher.add("/var/spool/jobs"));
//   for (;;) {
//     RT_TRY(const WatchEvent event, co_await watcher.next());
//     if (event.kind == WatchKind::overflow) rescan();
//     ...
//   }
//
// The kernel keeps at most fs.inotify.max_queued_events (16,384) events that were not taken. When
// there are more it drops them and tells so by one `overflow`: the directory has to be read then.
// A directory's watch is not one of the directories in it. A rename between two watched directories
// is a moved_from and a moved_to with one cookie, mostly but not always one after the other.
//
// Belongs to one core. In a simulation there is no inotify: `unsupported`.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "runtime/pipe.hpp"
#include "runtime/result.hpp"
#include "runtime/task.hpp"

namespace corelane::runtime {

// Names a watch of one Watcher. Numbers are not used again.
enum class WatchId : std::int32_t { none = -1 };

// The bits of inotify(7).
enum class WatchKind : std::uint32_t {
  accessed = 0x1,
  modified = 0x2,
  attributes = 0x4,
  closed_after_writing = 0x8,
  moved_from = 0x40,  // a name left the directory
  moved_to = 0x80,    // a name came into it
  created = 0x100,
  removed = 0x200,
  self_removed = 0x400,  // what is watched itself
  self_moved = 0x800,
  // Always told:
  unmounted = 0x2000,
  overflow = 0x4000,  // events were lost; of no watch
  ended = 0x8000,     // the watch: removed, or there is nothing left to watch
};
constexpr std::uint32_t operator|(WatchKind left, WatchKind right) noexcept {
  return static_cast<std::uint32_t>(left) | static_cast<std::uint32_t>(right);
}
constexpr std::uint32_t operator|(std::uint32_t left, WatchKind right) noexcept {
  return left | static_cast<std::uint32_t>(right);
}

// Names that come and go, and contents that are complete.
inline constexpr std::uint32_t kWatchChanges =
    WatchKind::closed_after_writing | WatchKind::moved_from | WatchKind::moved_to |
    WatchKind::created | WatchKind::removed | WatchKind::self_removed | WatchKind::self_moved;

struct WatchEvent {
  WatchId watch = WatchId::none;
  WatchKind kind{};
  bool is_directory = false;
  std::uint32_t cookie = 0;  // of a moved_from and its moved_to
  std::string name;          // in the watched directory; empty: what is watched itself
};

class Watcher {
 public:
  Watcher(Watcher&&) noexcept = default;
  Watcher& operator=(Watcher&& other) noexcept;
  ~Watcher() { close(); }

  // Does not suspend. Errors: EMFILE (fs.inotify.max_user_instances, descriptors), unsupported.
  static Result<Watcher> make();

  // Watches a file, or a directory for what happens to the names in it. `kinds`: of WatchKind. Once
  // more for the same file: the same id, with the new kinds. Errors: ENOENT, EACCES, ENOSPC
  // (fs.inotify.max_user_watches), cancelled: it may be watched all the same. (The path is looked
  // up on a thread: there is no ring operation.)
  Task<Result<WatchId>> add(std::string path, std::uint32_t kinds = kWatchChanges);
  // Its events that wait still come, then `ended`. EINVAL: there is no such watch (any more).
  Result<void> remove(WatchId watch) noexcept;

  // The next event, in order. One call at a time. A cancelled call has taken none.
  Task<Result<WatchEvent>> next();

  // Ends all watches, and so does the destructor. In the background, on a thread: the kernel waits
  // for its readers there (8 to 16 ms, Linux 6.18). The core ends after that.
  void close() noexcept;

 private:
  // Some hundred events; at least one with the longest name fits (inotify(7)).
  static constexpr std::size_t kBufferBytes = std::size_t{16} * 1024;
  using Buffer = std::array<std::byte, kBufferBytes>;

  WatchEvent take_event();

  explicit Watcher(File inotify)
      : events_(std::move(inotify)), buffer_(std::make_unique<Buffer>()) {}

  PipeReader events_;
  std::unique_ptr<Buffer> buffer_;
  std::size_t begin_ = 0;  // of what was read and not given out yet
  std::size_t end_ = 0;
};

}  // namespace corelane::runtime
