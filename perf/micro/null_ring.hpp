#pragma once
// NullRing: a Ring without a kernel behind it, for benchmarks that are about our own code. Nothing
// leaves the process and no system call is made: what is sent counts as sent at the end of the
// turn, and what arrives is what the benchmark delivers. So a turn of a whole server costs the same
// instructions each time, and a timing of it is free of the kernel's.
//
// A third implementation of runtime/ring.hpp, chosen by linking null_ring.cpp. Each thread finds
// its latest ring's far side through NullPeer::of_this_thread(). The clock stands still but for
// 100 ns a turn, so that no deadline runs out in a benchmark. Files are not supported (ENOSYS).

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/ring.hpp"

namespace corelane::perf {

// What a ring talks to: the clients of all its sockets.
class NullPeer {
 public:
  // The peer of the newest ring of this thread that still exists.
  static NullPeer& of_this_thread() noexcept;

  // Connects a client to the core's one listener and returns the accepted socket's number; the
  // server sees it in the next turn. The accept operation must be armed.
  int connect();
  // Bytes that the server receives in the next turn, at most what a receive buffer holds, which
  // must be free. Copies them, as a kernel would.
  void deliver(int socket, std::span<const std::byte> bytes);

  // Bytes that the server has sent so far, on all sockets.
  std::uint64_t bytes_sent() const noexcept { return bytes_sent_; }
  std::uint64_t sends() const noexcept { return sends_; }

 private:
  friend class runtime::Ring;

  struct Socket {
    runtime::Token receive;
    std::uint16_t group = 0;
    bool armed = false;
    bool multishot = false;
  };
  struct BufferGroup {
    std::byte* base = nullptr;
    std::uint32_t buffer_bytes = 0;
    std::vector<std::uint16_t> free;
  };

  void complete(runtime::Token token, std::int32_t result) { done_.push_back({token, result}); }
  void end_receive(Socket& socket);
  void arm(runtime::Descriptor descriptor, std::uint16_t group, runtime::Token token,
           bool multishot);
  Socket& socket(int number) { return sockets_[static_cast<std::size_t>(number)]; }

  std::vector<Socket> sockets_;
  std::array<BufferGroup, 4> groups_;
  std::vector<runtime::Completion> done_;  // from the end of the turn on
  std::vector<runtime::Completion> ready_;
  std::size_t reaped_ = 0;  // of ready_
  runtime::Token accept_;
  int accepting_ = 0;  // accepts in flight
  std::uint64_t bytes_sent_ = 0;
  std::uint64_t sends_ = 0;
  runtime::Nanoseconds now_ = 1'000'000'000;
  std::uint64_t entropy_ = 0;
  runtime::Ring::Counters counters_;
};

}  // namespace corelane::perf
