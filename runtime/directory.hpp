#pragma once
// Directories and names: list, make, rename, remove; and a file whose content changes in one step.
//
//   RT_TRY(Directory directory, co_await Directory::open("/var/log"));
//   for (;;) {
//     RT_TRY(const auto entries, co_await directory.read_some());
//     if (entries.empty()) break;   // the end
//     ...
//   }
//
// Names are bytes: whatever the file system allows, also spaces, line breaks and no valid UTF-8.
// Relative paths begin at the working directory of the process. Errors: the errnos of the system
// call that is named, `cancelled`, `invalid_argument` for a NUL in a name. All suspend and none
// blocks the core: ring operations, but for listing, which has none on Linux 6.1 and goes to a
// thread (runtime/blocking.hpp). An operation that a thread of the kernel has begun ends before its
// cancel does, so it may have been done.
//
// A Directory belongs to the core that opened it, as a File does (runtime/file.hpp); one call at a
// time.

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/file.hpp"
#include "runtime/generator.hpp"
#include "runtime/result.hpp"
#include "runtime/task.hpp"

namespace corelane::runtime {

// What a name stands for; `unknown` where the file system does not say so without a stat.
enum class EntryKind : std::uint8_t { file, directory, link, other, unknown };

struct DirectoryEntry {
  std::string name;
  EntryKind kind = EntryKind::unknown;
};

class Directory {
 public:
  Directory() = default;

  static Task<Result<Directory>> open(std::string path);

  // The next entries, at most some hundred (32 KiB of the kernel's records), in the file system's
  // order and without "." and ".."; none: the end. A name that is made or removed while it is
  // listed may be there or not. A call that was cancelled, or that failed, closes the directory.
  Task<Result<std::vector<DirectoryEntry>>> read_some();

  // Opens what lies below this directory, and nothing else: an absolute path, "..", or a symbolic
  // link that leads out of it fail with EXDEV (openat2(2), RESOLVE_BENEATH). `flags` and `mode` as
  // File::open. A path from a stranger is safe here.
  // EAGAIN: a directory on the way was renamed at the same time.
  Task<Result<File>> open_file(std::string path, int flags, std::uint32_t mode = 0644) const;
  Task<Result<Directory>> open_directory(std::string path) const;

  Task<Result<FileStatus>> status() { return file_.status(); }
  // The names that were made, renamed or removed before are on the device (fsync(2)).
  Task<Result<void>> sync() { return file_.sync(); }
  Task<Result<void>> close() { return file_.close(); }
  bool is_open() const noexcept { return file_.is_open(); }

 private:
  explicit Directory(File file) noexcept : file_(std::move(file)) {}

  File file_;
};

// All entries of a directory, one by one; an error is the last value.
AsyncGenerator<Result<DirectoryEntry>> list_directory(std::string path);

// unlink(2), rmdir(2), mkdir(2).
Task<Result<void>> remove_file(std::string path);
Task<Result<void>> remove_directory(std::string path);
Task<Result<void>> make_directory(std::string path, std::uint32_t mode = 0755);

enum class IfExists : std::uint8_t {
  replace,
  fail,  // EEXIST
};
// rename(2), renameat2(2): both names are in one file system.
Task<Result<void>> rename_path(std::string from, std::string to,
                               IfExists if_exists = IfExists::replace);

// Makes `content` the content of the file: an open sees the old content or the new one, also after
// a crash. Written to a temporary file beside it (.tmp-...), put on the device, renamed, and
// the directory is put on the device. After an error or a cancel the temporary file is removed; the
// content is then the old one, unless the last step failed. `mode` as of a new file.
Task<Result<void>> replace_file(std::string path, std::string content, std::uint32_t mode = 0644);

// Bytes done, of so many.
using CopyProgress = std::function<void(std::uint64_t done, std::uint64_t total)>;

// Copies a regular file: its bytes, its holes, its permissions (as the umask allows). Bytes copied.
// The copy is made under a temporary name beside `to` and renamed, so `to` is there when it is
// whole, and stays as it was after an error or a cancel. `progress` is called on this core, after
// each MiB at most; what it throws is thrown here, after the clean-up. A source that grows is
// copied up to the size that it had at first, one that shrinks up to its new end; of a file without
// a size (/proc) all is read. Errors: the errnos of open(2), copy_file_range(2) and rename(2);
// invalid_argument: it is no regular file; cancelled.
//
// copy_file_range(2) in pieces of 1 MiB on a thread (runtime/blocking.hpp), where the file system
// has it, else ring reads and writes, which fill the holes. A file of 512 MiB on ext4, cached:
// 2.6 GB/s; IORING_OP_SPLICE through a pipe of 1 MiB 1.8 GB/s, ring reads and writes 1.4 GB/s
// (medians of 5, Linux 6.18). The file systems that can share blocks copy nothing at all.
Task<Result<std::uint64_t>> copy_file(std::string from, std::string to, CopyProgress progress = {});

}  // namespace corelane::runtime
