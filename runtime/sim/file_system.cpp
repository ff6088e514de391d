#include "runtime/sim/file_system.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <utility>

namespace corelane::runtime::sim {

namespace {

// The directory of an absolute path without an end slash.
std::string parent_of(const std::string& path) {
  return path.substr(0, std::max<std::size_t>(path.rfind('/'), 1));
}

std::string below(const std::string& directory) {
  return directory == "/" ? directory : directory + "/";
}

// The parts of a path between its slashes.
std::vector<std::string_view> parts_of(std::string_view path) {
  std::vector<std::string_view> parts;
  while (!path.empty()) {
    const std::size_t end = std::min(path.find('/'), path.size());
    if (end != 0) parts.push_back(path.substr(0, end));
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return parts;
}

}  // namespace

FileSystem::FileSystem() {
  add("/", S_IFDIR | 0755, 0);
  add("/tmp", S_IFDIR | 01777, 0);
}

std::shared_ptr<FileNode> FileSystem::add(const std::string& path, mode_t mode,
                                          Nanoseconds wall_now) {
  auto node = std::make_shared<FileNode>();
  node->mode = mode;
  node->inode = next_inode_++;
  node->modified = wall_now;
  nodes_.emplace(path, node);
  return node;
}

// Each directory on the way has to be there, also one that a ".." leaves again.
FileSystem::Place FileSystem::look_up(std::string_view path) const {
  if (path.empty()) return {.path = {}, .node = nullptr, .error = ENOENT};
  if (path.size() >= PATH_MAX) return {.path = {}, .node = nullptr, .error = ENAMETOOLONG};
  Place place{.path = "/", .node = nodes_.find("/")->second};
  for (const std::string_view part : parts_of(path)) {
    if (part.size() > NAME_MAX) return {.path = {}, .node = nullptr, .error = ENAMETOOLONG};
    if (place.node == nullptr) return {.path = {}, .node = nullptr, .error = ENOENT};
    if (!S_ISDIR(place.node->mode)) return {.path = {}, .node = nullptr, .error = ENOTDIR};
    if (part == ".") continue;
    place.path = part == ".." ? parent_of(place.path) : below(place.path).append(part);
    const auto found = nodes_.find(place.path);
    place.node = found == nodes_.end() ? nullptr : found->second;
  }
  if (path.ends_with('/') && place.node != nullptr && !S_ISDIR(place.node->mode)) {
    return {.path = {}, .node = nullptr, .error = ENOTDIR};
  }
  return place;
}

FileSystem::Opened FileSystem::find_or_error(std::string_view path) const {
  Place place = look_up(path);
  if (place.node == nullptr) return {nullptr, place.error != 0 ? place.error : ENOENT};
  return {std::move(place.node), 0};
}

const std::string* FileSystem::path_of(const FileNode& node) const {
  for (const auto& [path, at] : nodes_) {
    if (at.get() == &node) return &path;
  }
  return nullptr;  // removed
}

FileSystem::Below FileSystem::path_below(const FileNode& directory, std::string_view path) const {
  if (!S_ISDIR(directory.mode)) return {{}, ENOTDIR};
  if (path.starts_with('/')) return {{}, EXDEV};
  if (path.empty()) return {{}, ENOENT};
  int depth = 0;
  for (const std::string_view part : parts_of(path)) {
    if (part != ".") depth += part == ".." ? -1 : 1;
    if (depth < 0) return {{}, EXDEV};
  }
  const std::string* const above = path_of(directory);
  if (above == nullptr) return {{}, ENOENT};
  return {below(*above).append(path), 0};
}

bool FileSystem::has_entries(const std::string& directory) const {
  const std::string prefix = below(directory);
  const auto first = nodes_.upper_bound(prefix);
  return first != nodes_.end() && first->first.starts_with(prefix);
}

FileSystem::Opened FileSystem::open(std::string_view path, int flags, mode_t mode,
                                    Nanoseconds wall_now) {
  const Place place = look_up(path);
  if (place.error != 0) return {nullptr, place.error};
  const bool creates = (flags & O_CREAT) != 0;
  const bool writes = (flags & O_ACCMODE) != O_RDONLY;
  if (place.node == nullptr) {
    if (!creates) return {nullptr, ENOENT};
    if (path.ends_with('/')) return {nullptr, EISDIR};
    return {add(place.path, S_IFREG | (mode & 07777), wall_now), 0};
  }
  if (creates && (flags & O_EXCL) != 0) return {nullptr, EEXIST};
  if (S_ISDIR(place.node->mode)) {
    if (creates || writes) return {nullptr, EISDIR};
    return {place.node, 0};
  }
  if ((flags & O_DIRECTORY) != 0) return {nullptr, ENOTDIR};
  if ((flags & O_TRUNC) != 0 && writes) {
    bytes_total_ -= place.node->bytes.size();
    place.node->bytes.clear();
    place.node->modified = wall_now;
  }
  return {place.node, 0};
}

int FileSystem::unlink(std::string_view path, bool directory) {
  const Place place = look_up(path);
  if (place.error != 0) return place.error;
  if (place.node == nullptr) return ENOENT;
  const bool is_directory = S_ISDIR(place.node->mode);
  if (directory && !is_directory) return ENOTDIR;
  if (!directory && is_directory) return EISDIR;
  if (place.path == "/") return EBUSY;
  if (has_entries(place.path)) return ENOTEMPTY;
  bytes_total_ -= place.node->bytes.size();
  nodes_.erase(place.path);
  return 0;
}

int FileSystem::rename(std::string_view from, std::string_view to, std::uint32_t flags) {
  const Place source = look_up(from);
  const Place target = look_up(to);
  if (source.error != 0 || target.error != 0) {
    return source.error != 0 ? source.error : target.error;
  }
  if (source.node == nullptr) return ENOENT;
  if ((flags & ~std::uint32_t{RENAME_NOREPLACE}) != 0) return EINVAL;
  const bool is_directory = S_ISDIR(source.node->mode);
  if (target.node != nullptr) {
    if ((flags & RENAME_NOREPLACE) != 0) return EEXIST;
    if (target.path == source.path) return 0;
  }
  if (is_directory && (source.path == "/" || target.path == "/")) return EBUSY;
  if (is_directory && target.path.starts_with(below(source.path))) return EINVAL;
  if (target.node != nullptr) {
    if (is_directory && !S_ISDIR(target.node->mode)) return ENOTDIR;
    if (const int error = unlink(target.path, is_directory); error != 0) return error;
  }
  if (!is_directory && to.ends_with('/')) return ENOTDIR;
  // What lies below moves with it.
  std::vector<std::string> moved{source.path};
  const std::string prefix = below(source.path);
  for (auto at = nodes_.upper_bound(prefix); at != nodes_.end(); ++at) {
    if (!is_directory || !at->first.starts_with(prefix)) break;
    moved.push_back(at->first);
  }
  for (const std::string& path : moved) {
    auto entry = nodes_.extract(path);
    entry.key() = target.path + path.substr(source.path.size());
    nodes_.insert(std::move(entry));
  }
  return 0;
}

int FileSystem::make_directory(std::string_view path, mode_t mode, Nanoseconds wall_now) {
  const Place place = look_up(path);
  if (place.error != 0) return place.error;
  if (place.node != nullptr) return EEXIST;
  add(place.path, S_IFDIR | (mode & 07777), wall_now);
  return 0;
}

std::optional<FileSystem::Entry> FileSystem::next_entry(const std::string& directory,
                                                        std::string_view after) const {
  const std::string prefix = below(directory);
  auto at = nodes_.upper_bound(prefix + std::string{after});
  while (at != nodes_.end() && at->first.starts_with(prefix)) {
    const std::string_view name = std::string_view{at->first}.substr(prefix.size());
    const std::size_t slash = name.find('/');
    if (slash == name.npos) return Entry{name, at->second.get()};
    // Past all that is in this subdirectory: '0' comes after '/'.
    at = nodes_.lower_bound(prefix + std::string{name.substr(0, slash)} + '0');
  }
  return std::nullopt;
}

void FileSystem::put(std::string_view path, std::string_view content) {
  for (std::size_t end = path.find('/', 1); end != path.npos; end = path.find('/', end + 1)) {
    make_directory(path.substr(0, end), 0755, 0);
  }
  const Opened opened = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0644, 0);
  write(*opened.node, 0, std::as_bytes(std::span{content}), 0);
}

std::optional<std::string> FileSystem::content(std::string_view path) const {
  const auto node = find(path);
  if (node == nullptr) return std::nullopt;
  return std::string{reinterpret_cast<const char*>(node->bytes.data()), node->bytes.size()};
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
