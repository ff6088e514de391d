#pragma once
// UnixSocketFile: the file of a Unix socket that this process listens on. It is removed when the
// server stops listening, but only if it still is ours: another process may have replaced it. Made
// while the socket is bound and removed before it is closed: only then does the inode number belong
// to it alone.

#include <sys/types.h>

#include <string>
#include <vector>

#include "runtime/address.hpp"

namespace corelane::services {

class UnixSocketFiles {
 public:
  // `address` has just been bound. Abstract sockets and other families have no file.
  void add(const runtime::Address& address);
  void remove_all() noexcept;

 private:
  struct File {
    std::string path;
    dev_t device;
    ino_t inode;
  };
  std::vector<File> files_;
};

}  // namespace corelane::services
