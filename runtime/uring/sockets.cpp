#include "runtime/uring/sockets.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace corelane::runtime::sockets {
namespace {

constexpr int kKeepAliveIdleSeconds = 180;
constexpr int kKeepAliveProbeSeconds = 30;
constexpr int kKeepAliveProbes = 4;

Unexpected<Error> last_error() noexcept {
  return {Error::from_errno(errno)};
}

Unexpected<Error> close_with_last_error(int fd) noexcept {
  const Unexpected<Error> error = last_error();
  ::close(fd);
  return error;
}

bool set(int fd, int level, int option, int value) noexcept {
  return ::setsockopt(fd, level, option, &value, sizeof value) == 0;
}

// Finds a peer that vanishes silently within five minutes, also if no bytes are sent to it.
// Accepted sockets inherit the options of the listening socket (socket(7), tcp(7)).
bool keep_alive(int fd) noexcept {
  return set(fd, SOL_SOCKET, SO_KEEPALIVE, 1) &&
         set(fd, IPPROTO_TCP, TCP_KEEPIDLE, kKeepAliveIdleSeconds) &&
         set(fd, IPPROTO_TCP, TCP_KEEPINTVL, kKeepAliveProbeSeconds) &&
         set(fd, IPPROTO_TCP, TCP_KEEPCNT, kKeepAliveProbes);
}

const char* unix_path(const Address& address) noexcept {
  return reinterpret_cast<const sockaddr_un*>(address.raw())->sun_path;
}

// A socket file outlives its server. It may go only if nobody answers on it. Nonblocking: a server
// that does not accept has a full backlog, and connect(2) would wait for room in it.
void remove_stale_socket_file(const Address& address) noexcept {
  const char* const path = unix_path(address);
  struct stat status{};
  if (path[0] == '\0' || ::lstat(path, &status) != 0 || !S_ISSOCK(status.st_mode)) return;
  const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (probe < 0) return;
  if (::connect(probe, address.raw(), address.raw_bytes()) != 0 && errno == ECONNREFUSED) {
    ::unlink(path);
  }
  ::close(probe);
}

// By way of a descriptor that names the file which bind(2) has made: the path may have become a
// link to something else.
bool give_file(const char* path, const ListenOptions& options) noexcept {
  const int file = ::open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (file < 0) return false;
  struct stat status{};
  bool given = ::fstat(file, &status) == 0;
  if (given && !S_ISSOCK(status.st_mode)) {
    errno = ENOTSOCK;
    given = false;
  }
  if (given && (options.unix_owner >= 0 || options.unix_group >= 0)) {
    // (uid_t)-1 leaves it as it is.
    given = ::fchownat(file, "", static_cast<uid_t>(options.unix_owner),
                       static_cast<gid_t>(options.unix_group), AT_EMPTY_PATH) == 0;
  }
  if (given && options.unix_mode >= 0) {
    char link[32];
    std::snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    given = ::chmod(link, static_cast<mode_t>(options.unix_mode)) == 0;
  }
  const int error = errno;
  ::close(file);
  errno = error;
  return given;
}

// After bind(2) the file exists; nobody can connect before listen(2).
Result<Descriptor> listen_on_file(Descriptor socket, const Address& address,
                                  const ListenOptions& options) noexcept {
  const char* const path = unix_path(address);
  const bool has_file = path[0] != '\0';
  const bool given = !has_file ||
                     (options.unix_mode < 0 && options.unix_owner < 0 && options.unix_group < 0) ||
                     give_file(path, options);
  if (given && ::listen(socket.number, options.backlog) == 0) return socket;
  const Unexpected<Error> error = last_error();
  if (has_file) ::unlink(path);
  ::close(socket.number);
  return error;
}

}  // namespace

Result<Descriptor> open_stream(int family) noexcept {
  const int fd = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return last_error();
  if (family != AF_UNIX && !set(fd, IPPROTO_TCP, TCP_NODELAY, 1)) return close_with_last_error(fd);
  return Descriptor{.number = fd, .direct = false};
}

Result<void> bind_source(Descriptor socket, const Address& source) noexcept {
  if (source.family() != AF_UNIX && !set(socket.number, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)) {
    return last_error();
  }
  if (::bind(socket.number, source.raw(), source.raw_bytes()) != 0) return last_error();
  return {};
}

Result<Descriptor> open_datagram(const Address& address, const DatagramOptions& options) noexcept {
  const int family = address.family();
  const int fd = ::socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return last_error();
  const bool is_ip = family != AF_UNIX;
  if ((is_ip && options.reuse_port && !set(fd, SOL_SOCKET, SO_REUSEPORT, 1)) ||
      (is_ip && options.broadcast && !set(fd, SOL_SOCKET, SO_BROADCAST, 1)) ||
      (family == AF_INET6 && !set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1)) ||
      ::bind(fd, address.raw(), address.raw_bytes()) != 0) {
    return close_with_last_error(fd);
  }
  return Descriptor{.number = fd, .direct = false};
}

Result<void> connect_datagram(Descriptor socket, const Address& peer) noexcept {
  if (::connect(socket.number, peer.raw(), peer.raw_bytes()) != 0) return last_error();
  return {};
}

Result<Descriptor> listen(const Address& address, const ListenOptions& options) noexcept {
  const int family = address.family();
  if (family == AF_UNIX) remove_stale_socket_file(address);
  auto socket = open_stream(family);
  if (!socket) return socket;
  const int fd = socket->number;
  if (family != AF_UNIX) {
    if (!set(fd, SOL_SOCKET, SO_REUSEADDR, 1)) return close_with_last_error(fd);
    if (options.reuse_port && !set(fd, SOL_SOCKET, SO_REUSEPORT, 1)) {
      return close_with_last_error(fd);
    }
    if (!keep_alive(fd)) return close_with_last_error(fd);
  }
  // "[::]:80" is for IPv6 alone, so that "0.0.0.0:80" can be listened on beside it.
  if (family == AF_INET6 && !set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1)) {
    return close_with_last_error(fd);
  }
  if (::bind(fd, address.raw(), address.raw_bytes()) != 0) return close_with_last_error(fd);
  if (family == AF_UNIX) return listen_on_file(*socket, address, options);
  if (::listen(fd, options.backlog) != 0) return close_with_last_error(fd);
  return socket;
}

Result<Address> local_address(Descriptor socket) noexcept {
  Address address;
  socklen_t bytes = Address::kRawBytesMax;
  if (::getsockname(socket.number, address.raw(), &bytes) != 0) return last_error();
  address.set_raw_bytes(bytes);
  return address;
}

Result<Address> peer_address(Descriptor socket) noexcept {
  Address address;
  socklen_t bytes = Address::kRawBytesMax;
  if (::getpeername(socket.number, address.raw(), &bytes) != 0) return last_error();
  address.set_raw_bytes(bytes);
  return address;
}

}  // namespace corelane::runtime::sockets
