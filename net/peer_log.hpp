#pragma once
// Lines of the log about a peer, with its address in front: "203.0.113.7:50312: 403 Forbidden,
// ...". One PeerLog a network. A plain descriptor is asked for the address at once; a direct one by
// way of the ring, so that the line comes a turn later, also if the stream is gone by then. Each
// reason has its limit a second, for lines (runtime/log.hpp) and, on each core, for such questions;
// what is not written costs no more than a look at the clock. For cold paths.
//
//   constinit runtime::LogReason kTooLarge{"message too large"};
//   net::log_peer(stream, kTooLarge, runtime::LogLevel::info, [&] { return fmt::format(...); });

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "net/network.hpp"
#include "net/stream.hpp"
#include "runtime/log.hpp"
#include "runtime/task_group.hpp"

namespace net {

class PeerLog {
 public:
  PeerLog() noexcept : questions_("peer log") {}

  // Whether the address may be asked for, for this reason and in this second of the core's clock.
  bool admits(const runtime::LogReason& reason, runtime::Nanoseconds now);
  // `reason` lives as long as the process.
  void write(Stream& stream, runtime::LogReason& reason, runtime::LogLevel level, std::string text);
  // Until all lines have been written. Before its end.
  runtime::TaskGroup::Join join() noexcept { return questions_.join(); }

 private:
  struct Asked {
    const runtime::LogReason* reason;
    std::uint32_t times;
  };
  std::vector<Asked> asked_;  // in the second; there are few reasons
  std::int64_t second_ = 0;
  runtime::TaskGroup questions_;
};

// `text` is a function that returns a std::string; it is called for lines that are written alone.
template <class Text>
[[gnu::cold]] void log_peer(Stream& stream, runtime::LogReason& reason, runtime::LogLevel level,
                            Text&& text) {
  if (!runtime::log_enabled(level)) return;
  Network& network = stream.network();
  PeerLog& log = network.peer_log();
  if (log.admits(reason, network.core().now())) {
    log.write(stream, reason, level, text());
  } else {
    runtime::log_limited(reason, level, std::forward<Text>(text));
  }
}

}  // namespace net
