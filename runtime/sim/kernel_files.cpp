// Files of the simulated file system, and descriptors of the real process (below kFirstDescriptor),
// on which the real calls are made.

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "runtime/sim/kernel.hpp"
#include "runtime/sim/kernel_objects.hpp"
#include "runtime/sim/world.hpp"

namespace corelane::runtime::sim {
namespace {

constexpr std::uint64_t kAtPosition = UINT64_MAX;  // offset -1: where the last one ended

std::int32_t real_result(ssize_t result) noexcept {
  return result < 0 ? -errno : static_cast<std::int32_t>(result);
}

}  // namespace

bool Kernel::file_fails(Operation& operation, bool writing) {
  if (!world_.roll(Fault::file_error)) return false;
  constexpr int kErrors[] = {EIO, EINTR, ENOSPC};
  complete(operation, -kErrors[world_.random().below(writing ? 3 : 2)], false);
  return true;
}

void Kernel::step_open(Operation& operation) {
  if (file_fails(operation, false)) return;
  auto opened =
      world_.files().open(operation.path, operation.flags, operation.mode, world_.wall_now());
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
  if (want != 0 && world_.roll(Fault::short_read)) want = 1 + world_.random().below(want);
  const bool at_position = operation.offset == kAtPosition;
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
  if (want != 0 && world_.roll(Fault::short_write)) want = 1 + world_.random().below(want);
  const bool at_position = operation.offset == kAtPosition;
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
  std::shared_ptr<FileNode> node;
  if (operation.kind == OperationKind::stat_descriptor) {
    if (const auto* file = find<OpenFile>(operation.object)) node = file->node;
  } else {
    node = world_.files().find(operation.path);
  }
  if (node == nullptr) return complete(operation, -ENOENT, false);
  FileSystem::fill_statx(*node, *operation.stat);
  complete(operation, 0, false);
}

void Kernel::step_outside(Operation& operation) {
  const int number = operation.descriptor.number;
  const bool position = operation.offset == kAtPosition;
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
