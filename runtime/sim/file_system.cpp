#include "runtime/sim/file_system.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace corelane::runtime::sim {

bool FileSystem::directory_exists(std::string_view path) const {
  if (path.empty() || path == "/" || path == ".") return true;
  const std::string prefix = std::string{path} + "/";
  const auto below = nodes_.lower_bound(prefix);
  return below != nodes_.end() && below->first.starts_with(prefix);
}

FileSystem::Opened FileSystem::open(std::string_view path, int flags, mode_t mode,
                                    Nanoseconds wall_now) {
  const auto found = nodes_.find(path);
  if (found == nodes_.end()) {
    if (directory_exists(path)) {
      if ((flags & O_ACCMODE) != O_RDONLY) return {nullptr, EISDIR};
      auto directory = std::make_shared<FileNode>();
      directory->mode = S_IFDIR | 0755;
      return {std::move(directory), 0};
    }
    if ((flags & O_CREAT) == 0) return {nullptr, ENOENT};
    auto node = std::make_shared<FileNode>();
    node->mode = S_IFREG | (mode & 07777);
    node->inode = next_inode_++;
    node->modified = wall_now;
    nodes_.emplace(path, node);
    return {std::move(node), 0};
  }
  if ((flags & O_DIRECTORY) != 0) return {nullptr, ENOTDIR};
  if ((flags & O_CREAT) != 0 && (flags & O_EXCL) != 0) return {nullptr, EEXIST};
  if ((flags & O_TRUNC) != 0 && (flags & O_ACCMODE) != O_RDONLY) {
    bytes_total_ -= found->second->bytes.size();
    found->second->bytes.clear();
    found->second->modified = wall_now;
  }
  return {found->second, 0};
}

std::shared_ptr<FileNode> FileSystem::find(std::string_view path) const {
  const auto found = nodes_.find(path);
  return found == nodes_.end() ? nullptr : found->second;
}

void FileSystem::put(std::string_view path, std::string_view content) {
  const Opened opened = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0644, 0);
  write(*opened.node, 0, std::as_bytes(std::span{content}), 0);
}

std::optional<std::string> FileSystem::content(std::string_view path) const {
  const auto node = find(path);
  if (node == nullptr) return std::nullopt;
  return std::string{reinterpret_cast<const char*>(node->bytes.data()), node->bytes.size()};
}

bool FileSystem::remove(std::string_view path) {
  const auto found = nodes_.find(path);
  if (found == nodes_.end()) return false;
  bytes_total_ -= found->second->bytes.size();
  nodes_.erase(found);
  return true;
}

std::size_t FileSystem::read(const FileNode& node, std::uint64_t offset,
                             std::span<std::byte> into) {
  if (offset >= node.bytes.size()) return 0;
  const std::size_t count = std::min<std::size_t>(into.size(), node.bytes.size() - offset);
  std::memcpy(into.data(), node.bytes.data() + offset, count);
  return count;
}

std::size_t FileSystem::write(FileNode& node, std::uint64_t offset,
                              std::span<const std::byte> bytes, Nanoseconds wall_now) {
  const std::uint64_t end = offset + bytes.size();
  if (end > node.bytes.size()) {
    if (bytes_total_ + (end - node.bytes.size()) > kBytesMax) return 0;
    bytes_total_ += end - node.bytes.size();
    node.bytes.resize(end);
  }
  std::memcpy(node.bytes.data() + offset, bytes.data(), bytes.size());
  node.modified = wall_now;
  return bytes.size();
}

void FileSystem::fill_statx(const FileNode& node, struct statx& into) {
  into = {};
  into.stx_mask = STATX_BASIC_STATS;
  into.stx_blksize = 4096;
  into.stx_nlink = 1;
  into.stx_mode = static_cast<std::uint16_t>(node.mode);
  into.stx_ino = node.inode;
  into.stx_size = node.bytes.size();
  into.stx_blocks = (node.bytes.size() + 511) / 512;
  into.stx_mtime.tv_sec = node.modified / kSecond;
  into.stx_mtime.tv_nsec = static_cast<std::uint32_t>(node.modified % kSecond);
}

}  // namespace corelane::runtime::sim
