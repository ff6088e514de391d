#pragma once
// UnixSocketFile: the file of a Unix socket that this process listens on. It is removed when the
// server stops listening, but only if it is still our file: another process may have replaced it.
// Make the object while the socket is bound, and remove the file before the socket is closed: only
// then does no other file have its inode number.

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
