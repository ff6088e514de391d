#pragma once
// FileSystem: the files of a simulated world, in memory. A flat table of absolute paths, in which
// each directory has an entry; "/" and "/tmp" are there from the start. Paths without a leading
// slash begin at "/". There are no links and no permissions. Belongs to the world.

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/types.hpp"

namespace corelane::runtime::sim {

// What a path names; shared by the table and the descriptors that have it open, as an inode is.
struct FileNode {
  std::vector<std::byte> bytes;
  mode_t mode = 0;
  std::uint64_t inode = 0;
  Nanoseconds modified = 0;  // since the epoch
  std::uint64_t syncs = 0;   // completed fsync calls
};

class FileSystem {
 public:
  // Files above this size fail with ENOSPC, all together.
  static constexpr std::uint64_t kBytesMax = 256u << 20;

  FileSystem();

  struct Opened {
    std::shared_ptr<FileNode> node;
    int error = 0;  // positive errno, 0 if node is set
  };
  Opened open(std::string_view path, int flags, mode_t mode, Nanoseconds wall_now);
  std::shared_ptr<FileNode> find(std::string_view path) const { return look_up(path).node; }
  // As find(), with the errno of a path that leads nowhere.
  Opened find_or_error(std::string_view path) const;
  // The path below an open directory: EXDEV if it is absolute or leaves the directory by "..".
  struct Below {
    std::string path;
    int error = 0;
  };
  Below path_below(const FileNode& directory, std::string_view path) const;

  // Positive errnos, 0: done. As unlink(2) and rmdir(2), renameat2(2) with RENAME_NOREPLACE at
  // most, mkdir(2).
  int unlink(std::string_view path, bool directory);
  int rename(std::string_view from, std::string_view to, std::uint32_t flags);
  int make_directory(std::string_view path, mode_t mode, Nanoseconds wall_now);
  // The path of a directory or a file; null: it was removed.
  const std::string* path_of(const FileNode& node) const;
  // A name in the directory of this path and what it is; in the order of the names. Empty: none is
  // behind `after`.
  struct Entry {
    std::string_view name;
    const FileNode* node = nullptr;
  };
  std::optional<Entry> next_entry(const std::string& directory, std::string_view after) const;

  // For tests: put a file there, with the directories above it, look at one, take one away.
  void put(std::string_view path, std::string_view content);
  std::optional<std::string> content(std::string_view path) const;
  bool remove(std::string_view path) { return unlink(path, false) == 0; }

  // Bytes read or written, at most the span's size; 0 at the end, or if there is no space.
  static std::size_t read(const FileNode& node, std::uint64_t offset, std::span<std::byte> into);
  std::size_t write(FileNode& node, std::uint64_t offset, std::span<const std::byte> bytes,
                    Nanoseconds wall_now);
  static void fill_statx(const FileNode& node, struct statx& into);

 private:
  struct Place {
    std::string path;                // absolute, without "." and ".."
    std::shared_ptr<FileNode> node;  // null: the directory has no such name
    int error = 0;                   // no such directory, or a path that cannot be
  };
  Place look_up(std::string_view path) const;
  bool has_entries(const std::string& directory) const;
  std::shared_ptr<FileNode> add(const std::string& path, mode_t mode, Nanoseconds wall_now);

  std::map<std::string, std::shared_ptr<FileNode>, std::less<>> nodes_;
  std::uint64_t next_inode_ = 1;
  std::uint64_t bytes_total_ = 0;
};

}  // namespace corelane::runtime::sim
