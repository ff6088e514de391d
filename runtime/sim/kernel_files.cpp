// Files of the simulated file system, and descriptors of the real process (below kFirstDescriptor),
// on which the real calls are made.

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <optional>
#include <span>
#include <utility>

#include "runtime/file_operation.hpp"
#include "runtime/sim/kernel.hpp"
#include "runtime/sim/kernel_objects.hpp"
#include "runtime/sim/world.hpp"

namespace corelane::runtime::sim {
namespace {

using detail::kFilePosition;

std::int32_t real_result(ssize_t result) noexcept {
  return result < 0 ? -errno : static_cast<std::int32_t>(result);
}

}  // namespace

bool Kernel::file_fails(Operation& operation, bool writing) {
  constexpr int kErrors[] = {EIO, EINTR, ENOSPC};
  const int error = world_.error(Fault::file_error, std::span{kErrors}.first(writing ? 3 : 2));
  if (error == 0) return false;
  complete(operation, -error, false);
  return true;
}

void Kernel::step_open(Operation& operation) {
  if (file_fails(operation, false)) return;
  FileSystem& files = world_.files();
  if (operation.kind == OperationKind::open) {
    return complete_open(
        operation, files.open(operation.path, operation.flags, operation.mode, world_.wall_now()));
  }
  const auto& directory = object_of<OpenFile>(operation);
  const auto below = files.path_below(*directory.node, operation.path);
  if (below.error != 0) return complete(operation, -below.error, false);
  complete_open(operation,
                files.open(below.path, operation.flags, operation.mode, world_.wall_now()));
}

void Kernel::complete_open(Operation& operation, FileSystem::Opened opened) {
  if (opened.node == nullptr) return complete(operation, -opened.error, false);
  OpenFile& file = add_object<OpenFile>();
  file.node = std::move(opened.node);
  file.flags = operation.flags;
  file.references = 1;
  const std::int32_t number = plain_.add(file.id);
  if (number == DescriptorTable::kFull) {
    objects_.erase(file.id);
    return complete(operation, -EMFILE, false);
  }
  complete(operation, number, false);
}

void Kernel::step_read(Operation& operation) {
  auto& file = object_of<OpenFile>(operation);
  if ((file.flags & O_ACCMODE) == O_WRONLY) return complete(operation, -EBADF, false);
  if (S_ISDIR(file.node->mode)) return complete(operation, -EISDIR, false);
  if (file_fails(operation, false)) return;
  std::size_t want = operation.bytes;
  const std::size_t cut = want != 0 ? world_.cut(Fault::short_read, want) : 0;
  if (cut != 0) want = cut;
  const bool at_position = operation.offset == kFilePosition;
  const std::uint64_t offset = at_position ? file.position : operation.offset;
  const std::size_t count = FileSystem::read(*file.node, offset, {operation.into, want});
  if (at_position) file.position += count;
  complete(operation, static_cast<std::int32_t>(count), false);
}

void Kernel::step_write(Operation& operation) {
  auto& file = object_of<OpenFile>(operation);
  if ((file.flags & O_ACCMODE) == O_RDONLY) return complete(operation, -EBADF, false);
  if (file_fails(operation, true)) return;
  std::size_t want = operation.bytes;
  const std::size_t cut = want != 0 ? world_.cut(Fault::short_write, want) : 0;
  if (cut != 0) want = cut;
  const bool at_position = operation.offset == kFilePosition;
  std::uint64_t offset = at_position ? file.position : operation.offset;
  if ((file.flags & O_APPEND) != 0) offset = file.node->bytes.size();
  const std::size_t count =
      world_.files().write(*file.node, offset, {operation.from, want}, world_.wall_now());
  if (at_position) file.position = offset + count;
  const bool full = count == 0 && want != 0;
  complete(operation, full ? -ENOSPC : static_cast<std::int32_t>(count), false);
}

void Kernel::step_fsync(Operation& operation) {
  auto& file = object_of<OpenFile>(operation);
  if (file_fails(operation, true)) return;
  ++file.node->syncs;
  complete(operation, 0, false);
}

void Kernel::step_stat(Operation& operation) {
  if (file_fails(operation, false)) return;
  FileSystem::Opened found{nullptr, ENOENT};
  if (operation.kind == OperationKind::stat_descriptor) {
    if (const auto* file = find<OpenFile>(operation.object)) found.node = file->node;
  } else {
    found = world_.files().find_or_error(operation.path);
  }
  if (found.node == nullptr) return complete(operation, -found.error, false);
  FileSystem::fill_statx(*found.node, *operation.stat);
  complete(operation, 0, false);
}

void Kernel::step_names(Operation& operation) {
  constexpr int kErrors[] = {EIO, ENOSPC};
  const int failure = world_.error(Fault::file_error, kErrors);
  if (failure != 0) return complete(operation, -failure, false);
  FileSystem& files = world_.files();
  int error = 0;
  if (operation.kind == OperationKind::remove) {
    error = files.unlink(operation.path, operation.flags != 0);
  } else if (operation.kind == OperationKind::rename) {
    error =
        files.rename(operation.path, operation.target, static_cast<std::uint32_t>(operation.flags));
  } else {
    error = files.make_directory(operation.path, operation.mode, world_.wall_now());
  }
  complete(operation, -error, false);
}

// As getdents64(2). A turn takes few names under the fault short_read.
Result<std::size_t> Kernel::read_directory(Descriptor descriptor, std::span<std::byte> into) {
  const auto* const entry = plain_.find(descriptor.number);
  auto* const file = entry != nullptr ? find<OpenFile>(entry->object) : nullptr;
  if (file == nullptr) return Unexpected{Error::from_errno(EBADF)};
  if (!S_ISDIR(file->node->mode)) return Unexpected{Error::from_errno(ENOTDIR)};
  if (world_.roll(Fault::file_error)) return Unexpected{Error::from_errno(EIO)};
  const bool takes_one = world_.roll(Fault::short_read);
  const std::string* const path = world_.files().path_of(*file->node);
  std::size_t bytes = 0;
  while (!takes_one || bytes == 0) {
    // Positions 0 and 1 are the directory itself and the one above.
    auto next = std::optional{FileSystem::Entry{file->position == 0 ? "." : "..", nullptr}};
    if (file->position > 1) {
      if (path == nullptr) break;
      next = world_.files().next_entry(*path, file->listed);
    }
    if (!next) break;
    constexpr std::size_t kNameAt = offsetof(dirent64, d_name);
    const std::size_t record = (kNameAt + next->name.size() + 1 + 7) / 8 * 8;
    if (bytes + record > into.size()) {
      if (bytes == 0) return Unexpected{Error::from_errno(EINVAL)};
      break;
    }
    const bool is_file = next->node != nullptr && !S_ISDIR(next->node->mode);
    dirent64 head{};
    head.d_ino = (next->node != nullptr ? *next->node : *file->node).inode;
    head.d_off = static_cast<off64_t>(++file->position);
    head.d_reclen = static_cast<unsigned short>(record);
    head.d_type = is_file ? DT_REG : DT_DIR;
    std::byte* const to = into.data() + bytes;
    std::memset(to, 0, record);
    std::memcpy(to, &head, kNameAt);
    std::memcpy(to + kNameAt, next->name.data(), next->name.size());
    if (file->position > 2) file->listed = next->name;
    bytes += record;
  }
  return bytes;
}

void Kernel::step_outside(Operation& operation) {
  const int number = operation.descriptor.number;
  const bool position = operation.offset == kFilePosition;
  const auto offset = static_cast<off_t>(operation.offset);
  switch (operation.kind) {
    case OperationKind::poll: {
      pollfd entry{.fd = number, .events = static_cast<short>(operation.flags), .revents = 0};
      if (::poll(&entry, 1, 0) > 0) complete(operation, entry.revents, false);
      return;  // otherwise parked until outside_ready()
    }
    case OperationKind::read: {
      pollfd entry{.fd = number, .events = POLLIN, .revents = 0};
      if (::poll(&entry, 1, 0) == 0) return;
      const ssize_t count = position ? ::read(number, operation.into, operation.bytes)
                                     : ::pread(number, operation.into, operation.bytes, offset);
      return complete(operation, real_result(count), false);
    }
    case OperationKind::write: {
      const ssize_t count = position ? ::write(number, operation.from, operation.bytes)
                                     : ::pwrite(number, operation.from, operation.bytes, offset);
      return complete(operation, real_result(count), false);
    }
    case OperationKind::fsync:
      return complete(operation, real_result(::fsync(number)), false);
    case OperationKind::close:
      return complete(operation, real_result(::close(number)), false);
    default:
      return complete(operation, -EOPNOTSUPP, false);
  }
}

void Kernel::outside_ready(std::int32_t descriptor) {
  for (Operation& operation : operations_) {
    if (operation.id != 0 && operation.descriptor == Descriptor{.number = descriptor}) {
      schedule(operation, step_delay());
    }
  }
}

}  // namespace corelane::runtime::sim
