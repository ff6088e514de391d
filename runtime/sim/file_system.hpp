#pragma once
// FileSystem: the files of a simulated world, in memory. A flat table of paths; a directory exists
// if somebody made it or a file lies below it. Belongs to the world.

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

  struct Opened {
    std::shared_ptr<FileNode> node;
    int error = 0;  // positive errno, 0 if node is set
  };
  Opened open(std::string_view path, int flags, mode_t mode, Nanoseconds wall_now);
  std::shared_ptr<FileNode> find(std::string_view path) const;

  // For tests: put a file there, look at one, take one away.
  void put(std::string_view path, std::string_view content);
  std::optional<std::string> content(std::string_view path) const;
  bool remove(std::string_view path);

  // Bytes read or written, at most the span's size; 0 at the end, or if there is no space.
  static std::size_t read(const FileNode& node, std::uint64_t offset, std::span<std::byte> into);
  std::size_t write(FileNode& node, std::uint64_t offset, std::span<const std::byte> bytes,
                    Nanoseconds wall_now);
  static void fill_statx(const FileNode& node, struct statx& into);

 private:
  bool directory_exists(std::string_view path) const;

  std::map<std::string, std::shared_ptr<FileNode>, std::less<>> nodes_;
  std::uint64_t next_inode_ = 1;
  std::uint64_t bytes_total_ = 0;
};

}  // namespace corelane::runtime::sim
