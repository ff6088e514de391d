#pragma once
// ChannelReader: a coroutine's subscription. It receives the events of its channels one by one, in
// each channel's order, on the core that made it.
//
//   ChannelReader reader;
//   const auto subscribed = co_await reader.subscribe("news");
//   for (;;) {
//     const auto event = co_await reader.next();
//     if (!event) break;            // cancelled, or this reader was too slow
//     use(event->data);             // valid until the next next()
//   }
//
// What has come and was not read yet is bounded by `queued_bytes_max`; blocks are shared with all
// other subscribers, and count whole. A reader that lets more gather is ended: it gets what is
// queued, then ErrorCode::limit_exceeded, and nothing more. It never loses an event silently.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string_view>

#include "protocol/frame.hpp"
#include "protocol/uuid.hpp"
#include "protocol/verify.hpp"
#include "runtime/result.hpp"
#include "runtime/shared_bytes.hpp"
#include "runtime/task.hpp"
#include "runtime/wait_queue.hpp"
#include "services/pubsub/pubsub.hpp"

namespace corelane::services {

// One event, as a view into memory that its reader holds.
struct ChannelEvent {
  std::string_view channel;
  std::span<const std::byte> data;
  std::uint64_t epoch = 0;
  std::uint64_t offset = 0;
  std::uint64_t timestamp = 0;  // nanoseconds since the epoch, when it was ordered
  protocol::Uuid publisher{};   // nil: the server
  protocol::Uuid trace_id{};
  std::uint64_t span_id = 0;
};

class ChannelReader final : private Listener {
 public:
  static constexpr std::size_t kQueuedBytesMaxDefault = 1024 * 1024;

  // On a core with a PubSub, which must outlive it.
  explicit ChannelReader(std::size_t queued_bytes_max = kQueuedBytesMaxDefault)
      : queued_bytes_max_(queued_bytes_max) {}

  // Suspend until the channel's owner has answered. The result says from which position on events
  // come, or up to which they came, or why not (code). Error: cancelled.
  runtime::Task<runtime::Result<protocol::fbs::ChannelResult>> subscribe(std::string_view channel);
  runtime::Task<runtime::Result<protocol::fbs::ChannelResult>> unsubscribe(
      std::string_view channel);

  // Suspends until there is an event. Errors: cancelled; limit_exceeded once it was too slow. One
  // call at a time.
  runtime::Task<runtime::Result<ChannelEvent>> next();

  // Runs that wait to be read, in bytes.
  std::size_t queued_bytes() const noexcept { return queued_bytes_; }

 private:
  struct Run {
    runtime::SharedBytes block;
    std::span<const std::byte> rest;  // WebSocket frames that were not read yet
  };

  bool on_run(const EventRun& run) noexcept override;
  ChannelEvent read_event(std::span<const std::byte> frame);

  const std::size_t queued_bytes_max_;
  std::size_t queued_bytes_ = 0;
  bool is_too_slow_ = false;
  std::deque<Run> runs_;
  runtime::WaitQueue waiting_;
  protocol::AlignedScratch scratch_;
};

}  // namespace corelane::services
