#include "runtime/directory.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "runtime/await.hpp"
#include "runtime/blocking.hpp"
#include "runtime/file_operation.hpp"
#include "runtime/timeout.hpp"
#include "runtime/try.hpp"

namespace corelane::runtime {
namespace {

constexpr std::size_t kRecordBytes = std::size_t{32} * 1024;

// How long the clean-up of replace_file goes on when it has been cancelled.
constexpr Nanoseconds kCleanUpMax = 5 * kSecond;

EntryKind kind_of(unsigned char type) noexcept {
  switch (type) {
    case DT_REG:
      return EntryKind::file;
    case DT_DIR:
      return EntryKind::directory;
    case DT_LNK:
      return EntryKind::link;
    case DT_UNKNOWN:
      return EntryKind::unknown;
    default:
      return EntryKind::other;
  }
}

void take_records(std::span<const std::byte> records, std::vector<DirectoryEntry>& entries) {
  while (!records.empty()) {
    constexpr std::size_t kNameAt = offsetof(dirent64, d_name);
    dirent64 head;
    std::memcpy(&head, records.data(), kNameAt);
    const auto* const name = reinterpret_cast<const char*>(records.data()) + kNameAt;
    const std::string_view text{name, ::strnlen(name, head.d_reclen - kNameAt)};
    if (text != "." && text != "..") entries.push_back({std::string{text}, kind_of(head.d_type)});
    records = records.subspan(head.d_reclen);
  }
}

struct Listed {
  File file;
  Result<std::vector<DirectoryEntry>> entries;
};

// Owns the directory while it reads: a cancelled wait leaves it running, and nobody may use the
// descriptor's number for another file in the meantime.
class ReadEntries {
 public:
  explicit ReadEntries(File file) noexcept : file_(std::move(file)) {}
  Listed operator()() {
    std::vector<DirectoryEntry> entries;
    const auto records = std::make_unique_for_overwrite<std::byte[]>(kRecordBytes);
    for (;;) {
      const std::span<std::byte> room{records.get(), kRecordBytes};
      const auto bytes = Ring::read_directory(file_.descriptor(), room);
      if (!bytes) return {std::move(file_), Unexpected{bytes.error()}};
      take_records(room.first(*bytes), entries);
      // A piece that held "." and ".." alone is not the end.
      if (*bytes == 0 || !entries.empty()) return {std::move(file_), std::move(entries)};
    }
  }

 private:
  File file_;
};

using detail::has_nul;

template <class Prepare>
Task<Result<void>> without_value(const char* what, Prepare prepare) {
  OperationAwaiter operation(what, {}, std::move(prepare));
  const auto result = co_await operation;
  if (!result) co_return Unexpected{result.error()};
  co_return Result<void>{};
}

}  // namespace

Task<Result<Directory>> Directory::open(std::string path) {
  RT_TRY(File file, co_await File::open(std::move(path), O_RDONLY | O_DIRECTORY));
  co_return Directory(std::move(file));
}

Task<Result<std::vector<DirectoryEntry>>> Directory::read_some() {
  if (!file_.is_open()) co_return fail(ErrorCode::closed);
  ReadEntries read(std::move(file_));
  // with_timeout makes an error of a cancel.
  auto listed = co_await with_timeout(kNever, blocking(std::move(read)));
  if (!listed) co_return Unexpected{listed.error()};
  if (listed->entries) file_ = std::move(listed->file);
  co_return std::move(listed->entries);
}

Task<Result<File>> Directory::open_file(std::string path, int flags, std::uint32_t mode) const {
  if (!file_.is_open()) co_return fail(ErrorCode::closed);
  if (has_nul(path)) co_return fail(ErrorCode::invalid_argument);
  struct open_how how{};
  how.flags = static_cast<std::uint64_t>(static_cast<unsigned>(flags | O_CLOEXEC));
  // openat2(2) refuses a mode where nothing is made.
  const bool makes = (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
  how.mode = makes ? mode & 07777 : 0;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  OperationAwaiter operation("open", {}, [&](Ring& ring, Token token) {
    ring.open_below(file_.descriptor(), path.c_str(), &how, token);
  });
  const auto result = co_await operation;
  if (!result) co_return Unexpected{result.error()};
  co_return File{Descriptor{.number = static_cast<std::int32_t>(*result), .direct = false}};
}

Task<Result<Directory>> Directory::open_directory(std::string path) const {
  RT_TRY(File file, co_await open_file(std::move(path), O_RDONLY | O_DIRECTORY));
  co_return Directory(std::move(file));
}

AsyncGenerator<Result<DirectoryEntry>> list_directory(std::string path) {
  auto directory = co_await Directory::open(std::move(path));
  if (!directory) {
    co_yield Result<DirectoryEntry>(Unexpected{directory.error()});
    co_return;
  }
  for (;;) {
    auto entries = co_await directory->read_some();
    if (!entries) {
      co_yield Result<DirectoryEntry>(Unexpected{entries.error()});
      co_return;
    }
    if (entries->empty()) co_return;
    for (DirectoryEntry& entry : *entries) co_yield Result<DirectoryEntry>(std::move(entry));
  }
}

Task<Result<void>> remove_file(std::string path) {
  if (has_nul(path)) co_return fail(ErrorCode::invalid_argument);
  co_return co_await without_value(
      "unlink", [&](Ring& ring, Token token) { ring.remove(path.c_str(), false, token); });
}

Task<Result<void>> remove_directory(std::string path) {
  if (has_nul(path)) co_return fail(ErrorCode::invalid_argument);
  co_return co_await without_value(
      "rmdir", [&](Ring& ring, Token token) { ring.remove(path.c_str(), true, token); });
}

Task<Result<void>> make_directory(std::string path, std::uint32_t mode) {
  if (has_nul(path)) co_return fail(ErrorCode::invalid_argument);
  co_return co_await without_value("mkdir", [&](Ring& ring, Token token) {
    ring.make_directory(path.c_str(), static_cast<mode_t>(mode), token);
  });
}

Task<Result<void>> rename_path(std::string from, std::string to, IfExists if_exists) {
  if (has_nul(from) || has_nul(to)) co_return fail(ErrorCode::invalid_argument);
  const std::uint32_t flags = if_exists == IfExists::fail ? RENAME_NOREPLACE : 0;
  co_return co_await without_value("rename", [&](Ring& ring, Token token) {
    ring.rename(from.c_str(), to.c_str(), flags, token);
  });
}

namespace {

// Up to the last slash: "." for none, so that what is appended stays in the working directory.
std::string directory_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == path.npos ? "./" : path.substr(0, slash + 1);
}

std::string temporary_beside(const std::string& path) {
  return fmt::format("{}.tmp-{:016x}", directory_of(path), Core::current().ring().entropy());
}

// It may not be there: the operation that was to make it has failed. Not cancelled with the scope.
Task<void> remove_temporary(const std::string& path) {
  [[maybe_unused]] const auto removed = co_await shield(kCleanUpMax, remove_file(path));
}

Task<Result<void>> write_and_rename(const std::string& temporary, const std::string& path,
                                    const std::string& content, std::uint32_t mode) {
  RT_TRY(File file, co_await File::open(temporary, O_CREAT | O_EXCL | O_WRONLY, mode));
  RT_TRY_VOID(co_await file.write_all_at(std::as_bytes(std::span{content}), 0));
  RT_TRY_VOID(co_await file.sync());
  RT_TRY_VOID(co_await file.close());
  co_return co_await rename_path(temporary, path);
}

}  // namespace

Task<Result<void>> replace_file(std::string path, std::string content, std::uint32_t mode) {
  if (has_nul(path)) co_return fail(ErrorCode::invalid_argument);
  const std::string temporary = temporary_beside(path);
  const auto written = co_await write_and_rename(temporary, path, content, mode);
  if (!written) {
    co_await remove_temporary(temporary);
    co_return Unexpected{written.error()};
  }
  RT_TRY(Directory above, co_await Directory::open(directory_of(path)));
  co_return co_await above.sync();
}

namespace {

constexpr std::uint64_t kCopyBytes = std::uint64_t{1} << 20;
constexpr std::size_t kRingCopyBytes = std::size_t{256} * 1024;

// Copies the next piece, or skips a hole, at the same place in both files. Owns them, as
// ReadEntries its directory.
class CopyPiece {
 public:
  struct Copied {
    File from;
    File to;
    Result<std::uint64_t> bytes;  // 0: the source has ended before `end`
  };

  CopyPiece(File from, File to, std::uint64_t at, std::uint64_t end) noexcept
      : from_(std::move(from)), to_(std::move(to)), at_(at), end_(end) {}
  Copied operator()() {
    auto bytes = copy();
    return {std::move(from_), std::move(to_), std::move(bytes)};
  }

 private:
  Result<std::uint64_t> copy() {
    const int from = from_.descriptor().number;
    const auto at = static_cast<off_t>(at_);
    const off_t data = ::lseek(from, at, SEEK_DATA);
    if (data < 0 && errno == ENXIO)
      return skip_to(static_cast<std::uint64_t>(::lseek(from, 0, SEEK_END)));
    if (data > at) return skip_to(static_cast<std::uint64_t>(data));
    // A file system that knows no holes: all is data.
    const off_t hole = data < 0 ? -1 : ::lseek(from, at, SEEK_HOLE);
    const std::uint64_t data_end =
        hole < 0 ? end_ : std::min(static_cast<std::uint64_t>(hole), end_);
    off_t from_at = at;
    off_t to_at = at;
    const ssize_t count = ::copy_file_range(from, &from_at, to_.descriptor().number, &to_at,
                                            std::min(data_end - at_, kCopyBytes), 0);
    if (count < 0) return Unexpected{Error::from_errno(errno)};
    return static_cast<std::uint64_t>(count);
  }

  // The hole is the copy's, too: a file that ends with one needs its size.
  Result<std::uint64_t> skip_to(std::uint64_t data) {
    const std::uint64_t to = std::min(data, end_);
    if (to <= at_) return std::uint64_t{0};
    if (::ftruncate(to_.descriptor().number, static_cast<off_t>(to)) != 0) {
      return Unexpected{Error::from_errno(errno)};
    }
    return to - at_;
  }

  File from_;
  File to_;
  std::uint64_t at_;
  std::uint64_t end_;
};

// The file systems of the two files, or the kernel, cannot do it (copy_file_range(2)).
bool is_no_range_copy(const Error& error) noexcept {
  for (const int number : {EXDEV, EINVAL, EOPNOTSUPP, ENOSYS}) {
    if (error == Error::from_errno(number)) return true;
  }
  return false;
}

class Copying {
 public:
  Copying(File from, File to, std::uint64_t total, CopyProgress& progress) noexcept
      : from_(std::move(from)), to_(std::move(to)), total_(total), progress_(progress) {}

  Task<Result<std::uint64_t>> run() {
    // A file without a size is read to its end, and a simulation has no range copies.
    bool by_range = total_ != 0 && !Ring::is_simulated();
    const std::uint64_t end = total_ != 0 ? total_ : UINT64_MAX;
    std::uint64_t done = 0;
    while (done < end) {
      const auto moved = by_range ? co_await copy_range(done, end) : co_await copy_bytes(done, end);
      if (by_range && !moved && is_no_range_copy(moved.error())) {
        by_range = false;
        continue;
      }
      if (!moved) co_return Unexpected{moved.error()};
      if (*moved == 0) break;
      done += *moved;
      if (progress_) progress_(done, std::max(done, total_));
    }
    co_return done;
  }
  Task<Result<void>> close() { return to_.close(); }

 private:
  Task<Result<std::uint64_t>> copy_range(std::uint64_t at, std::uint64_t end) {
    CopyPiece piece(std::move(from_), std::move(to_), at, end);
    auto copied = co_await with_timeout(kNever, blocking(std::move(piece)));
    if (!copied) co_return Unexpected{copied.error()};
    from_ = std::move(copied->from);
    to_ = std::move(copied->to);
    co_return std::move(copied->bytes);
  }

  Task<Result<std::uint64_t>> copy_bytes(std::uint64_t at, std::uint64_t end) {
    if (buffer_.empty()) buffer_.resize(kRingCopyBytes);
    const std::span<std::byte> room =
        std::span{buffer_}.first(std::min<std::uint64_t>(buffer_.size(), end - at));
    RT_TRY(const std::uint32_t count, co_await from_.read_at(room, at));
    RT_TRY_VOID(co_await to_.write_all_at(room.first(count), at));
    co_return std::uint64_t{count};
  }

  File from_;
  File to_;
  std::uint64_t total_;
  CopyProgress& progress_;
  std::vector<std::byte> buffer_;
};

Task<Result<std::uint64_t>> copy_and_rename(const std::string& from, const std::string& temporary,
                                            const std::string& to, CopyProgress& progress) {
  // O_NONBLOCK: the open of a FIFO would wait for its other end.
  RT_TRY(File source, co_await File::open(from, O_RDONLY | O_NONBLOCK));
  RT_TRY(const FileStatus status, co_await source.status());
  if (!S_ISREG(status.mode)) co_return fail(ErrorCode::invalid_argument);
  RT_TRY(File target,
         co_await File::open(temporary, O_CREAT | O_EXCL | O_WRONLY, status.mode & 0777));
  Copying copying(std::move(source), std::move(target), status.bytes, progress);
  RT_TRY(const std::uint64_t bytes, co_await copying.run());
  RT_TRY_VOID(co_await copying.close());
  RT_TRY_VOID(co_await rename_path(temporary, to));
  co_return bytes;
}

}  // namespace

Task<Result<std::uint64_t>> copy_file(std::string from, std::string to, CopyProgress progress) {
  if (has_nul(from) || has_nul(to)) co_return fail(ErrorCode::invalid_argument);
  const std::string temporary = temporary_beside(to);
  Result<std::uint64_t> copied = fail(ErrorCode::cancelled);
  std::exception_ptr thrown;  // by `progress`
  try {
    copied = co_await copy_and_rename(from, temporary, to, progress);
  } catch (...) {
    thrown = std::current_exception();
  }
  if (!copied) co_await remove_temporary(temporary);
  if (thrown) std::rethrow_exception(thrown);
  co_return copied;
}

}  // namespace corelane::runtime
