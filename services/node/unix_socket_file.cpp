#include "services/node/unix_socket_file.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace corelane::services {

void UnixSocketFiles::add(const runtime::Address& address) {
  if (address.family() != AF_UNIX) return;
  const char* path = reinterpret_cast<const sockaddr_un*>(address.raw())->sun_path;
  struct stat status{};
  if (path[0] == '\0' || ::lstat(path, &status) != 0 || !S_ISSOCK(status.st_mode)) return;
  // The path is relative to the folder of now, which nobody changes in a server.
  files_.push_back({path, status.st_dev, status.st_ino});
}

void UnixSocketFiles::remove_all() noexcept {
  for (const File& file : files_) {
    struct stat status{};
    if (::lstat(file.path.c_str(), &status) != 0 || !S_ISSOCK(status.st_mode)) continue;
    if (status.st_dev == file.device && status.st_ino == file.inode) ::unlink(file.path.c_str());
  }
  files_.clear();
}

}  // namespace corelane::services
