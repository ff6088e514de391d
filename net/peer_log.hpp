#pragma once
// Lines of the log about a peer, with its address in front: "203.0.113.7:50312: 403 Forbidden,
// ...". One PeerLog a network. A plain descriptor is asked for the address at once; a direct one by
// way of the ring, so that the line comes a turn later, also if the stream is gone by then. Each
// reason has its limit a second (runtime/log.hpp); only lines within it ask for the address. What
// is not written costs no more than a look at the clock. For cold paths.
//
//   constinit runtime::LogReason kTooLarge{"message too large"};
//   net::log_peer(stream, kTooLarge, runtime::LogLevel::info, [&] { return fmt::format(...); });

#include <string>
#include <utility>

#include "net/network.hpp"
#include "net/stream.hpp"
#include "runtime/log.hpp"
#include "runtime/task_group.hpp"

namespace corelane::net {

class PeerLog {
 public:
  PeerLog() noexcept : questions_("peer log") {}

  void write(Stream& stream, runtime::LogLevel level, std::string text);
  // Waits until all lines have been written. Call it before the end.
  runtime::TaskGroup::Join join() noexcept { return questions_.join(); }
  bool at_rest() const noexcept { return questions_.running() == 0; }

 private:
  runtime::TaskGroup questions_;
};

// `text` is a function that returns a std::string; it is called for lines that are written alone.
template <class Text>
[[gnu::cold]] void log_peer(Stream& stream, runtime::LogReason& reason, runtime::LogLevel level,
                            Text&& text) {
  if (!runtime::log_enabled(level) || !runtime::log_admits(reason, level)) return;
  stream.network().peer_log().write(stream, level, std::forward<Text>(text)());
}

}  // namespace corelane::net
