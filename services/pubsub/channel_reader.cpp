#include "services/pubsub/channel_reader.hpp"

#include "services/reply/reply.hpp"

namespace corelane::services {

using protocol::fbs::ChannelResult;
using runtime::Result;
using runtime::Task;

namespace {

Result<ChannelResult> result_of(const Result<SubscriptionsChanged>& changed) {
  if (!changed) return runtime::Unexpected{changed.error()};
  return changed->results.front();
}

}  // namespace

// The name may lie in the caller's frame: subscribe() looks at it before it suspends.
Task<Result<ChannelResult>> ChannelReader::subscribe(std::string_view channel) {
  const auto changed =
      co_await completion_of<SubscriptionsChanged>([this, channel](const ReplyTo& to) {
        PubSub::local().subscribe(*this, std::span{&channel, 1}, to);
      });
  co_return result_of(changed);
}

Task<Result<ChannelResult>> ChannelReader::unsubscribe(std::string_view channel) {
  const auto changed =
      co_await completion_of<SubscriptionsChanged>([this, channel](const ReplyTo& to) {
        PubSub::local().unsubscribe(*this, std::span{&channel, 1}, to);
      });
  co_return result_of(changed);
}

bool ChannelReader::on_run(const EventRun& run) noexcept {
  if (is_too_slow_) return false;
  if (!runs_.empty() && queued_bytes_ + run.bytes.size() > queued_bytes_max_) {
    is_too_slow_ = true;
    return false;
  }
  queued_bytes_ += run.bytes.size();
  runs_.push_back({.block = run.block.share(), .rest = run.bytes});
  if (!waiting_.empty()) waiting_.wake_front(runtime::WaitQueue::Outcome::granted);
  return true;
}

Task<Result<ChannelEvent>> ChannelReader::next() {
  // The run of the event before is let go only now: the event's views lay in it.
  if (!runs_.empty() && runs_.front().rest.empty()) runs_.pop_front();
  if (runs_.empty() && !is_too_slow_) {
    runtime::WaitQueue::Waiter waiter{waiting_};
    co_await waiter;
  }
  if (runs_.empty()) {
    co_return runtime::fail(is_too_slow_ ? runtime::ErrorCode::limit_exceeded
                                         : runtime::ErrorCode::cancelled);
  }
  Run& run = runs_.front();
  const std::size_t before = run.rest.size();
  const auto frame = take_event(run.rest);
  queued_bytes_ -= before - run.rest.size();
  co_return read_event(frame);
}

// Laid out by this server, so whatever does not hold is a fault of ours.
ChannelEvent ChannelReader::read_event(std::span<const std::byte> frame) {
  const protocol::Frame whole = protocol::next_frame(frame, frame.size());
  RT_ASSERT(whole.status == protocol::FrameStatus::complete);
  const protocol::VerifiedMessage message = protocol::verify_message(whole.message);
  RT_ASSERT(message.ok);
  const auto event =
      protocol::verify_payload<protocol::fbs::ChannelEvent>(message.view.payload, scratch_);
  RT_ASSERT(event.table != nullptr);
  return {.channel = event->channel()->string_view(),
          .data = protocol::bytes_of(event->data()),
          .epoch = event->epoch(),
          .offset = event->offset(),
          .timestamp = message.view.timestamp,
          .publisher = protocol::from_fbs(event->publisher()),
          .trace_id = message.view.trace_id,
          .span_id = message.view.span_id};
}

}  // namespace corelane::services
