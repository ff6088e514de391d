#pragma once
// Conversation: a request and its answer on one connection, before a load begins: to learn the
// server's answers, to prepare its data, to ask for a connection's session. Then the stream is
// closed or handed over to another handler. Lives until its stream has another owner; one core.

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "net/network.hpp"
#include "perf/load/opener.hpp"
#include "runtime/result.hpp"
#include "runtime/task.hpp"

namespace corelane::perf {

class Conversation {
 public:
  explicit Conversation(net::Network& network) noexcept : network_(network) {}

  // Errors: those of Opener::open().
  runtime::Task<runtime::Result<void>> open(Opener& opener);
  // Sends `words` and suspends until `is_whole` says so of all that has come since; take it from
  // received(). Errors: timed_out after 10 s, closed.
  using IsWhole = std::function<bool(std::span<const std::byte>)>;
  runtime::Task<runtime::Result<void>> ask(std::span<const std::byte> words,
                                           const IsWhole& is_whole);
  std::span<const std::byte> received() const noexcept { return received_; }

  net::StreamId stream() const noexcept { return stream_; }
  void close() noexcept;

 private:
  static void on_data(net::Stream& stream, const net::Received& received) noexcept;
  static void on_end(net::Stream& stream) noexcept;
  static void on_closed(net::Stream& stream, runtime::Error why) noexcept;
  static void on_timer(net::Stream&) noexcept {}
  static const net::StreamHandler kHandler;

  net::Network& network_;
  net::StreamId stream_;
  std::vector<std::byte> received_;
  bool closed_ = false;
};

}  // namespace corelane::perf
