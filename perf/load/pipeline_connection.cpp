#include "perf/load/pipeline_connection.hpp"

#include <algorithm>
#include <string>

#include "perf/load/opener.hpp"

namespace corelane::perf {

const net::StreamHandler PipelineConnection::kHandler{"pipeline", on_data,  on_end,
                                                      on_closed,  on_timer, on_writable};

void PipelineConnection::start() {
  const runtime::Nanoseconds now = shared_.context.network.core().ring().now();
  for (std::uint32_t i = 0; i < depth(); ++i) sent_at_.push(now);
  shared_.offered += depth();
  send(depth());
}

void PipelineConnection::offer(runtime::Nanoseconds due) {
  ++shared_.offered;
  sent_at_.push(due);
  if (in_flight_ < depth()) {
    send(1);
  } else {
    ++waiting_;
  }
}

// A piece of the ring, or two where it ends; whatever else this turn adds leaves with it.
void PipelineConnection::send(std::size_t count) {
  net::Stream* stream = shared_.context.network.find(out_);
  if (stream == nullptr) return;  // counted where it ended
  in_flight_ += count;
  while (count > 0) {
    const std::size_t part = std::min(count, ring_.messages() - next_);
    // False only while the stream is closing, which is counted where it ends.
    if (!stream->send_static(ring_.to_send(next_, part))) return;
    next_ = next_ + part == ring_.messages() ? 0 : next_ + part;
    count -= part;
  }
}

void PipelineConnection::take(net::Stream& stream, std::span<const std::byte> bytes) {
  const runtime::Nanoseconds now = stream.network().core().ring().now();
  std::size_t messages = 0;
  while (!bytes.empty()) {
    const auto result = checker_->feed(bytes);
    bytes = bytes.subspan(result.consumed);
    messages += result.messages;
    if (result.found == AnswerChecker::Found::wrong || messages > in_flight_) {
      return convict(stream, messages);
    }
    if (result.found == AnswerChecker::Found::close) {
      record(messages, now);
      return stream.close(0);
    }
    if (result.found == AnswerChecker::Found::ping) send_pong(stream, checker_->control_payload());
  }
  record(messages, now);
  if (messages != 0 && !shared_.context.stopping) refill(messages, now);
}

void PipelineConnection::record(std::size_t messages, runtime::Nanoseconds now) {
  in_flight_ -= messages;
  shared_.answered += messages;
  for (std::size_t i = 0; i < messages; ++i) {
    shared_.context.meter.record(now - sent_at_.pop());
  }
  answered_ += messages;
}

// `messages` answers have made room.
void PipelineConnection::refill(std::size_t messages, runtime::Nanoseconds now) {
  if (shared_.context.settings.is_open_loop()) {
    const std::size_t next = std::min<std::size_t>(waiting_, depth() - in_flight_);
    waiting_ -= next;
    if (next != 0) send(next);
    return;
  }
  if (shared_.context.settings.batched) {
    if (in_flight_ != 0) return;
    messages = depth();
  }
  for (std::size_t i = 0; i < messages; ++i) sent_at_.push(now);
  shared_.offered += messages;
  send(messages);
}

void PipelineConnection::convict(net::Stream& stream, std::size_t messages) {
  failed_ = true;
  shared_.context.faults.note_wrong(
      messages > in_flight_
          ? "an answer came that nothing asked for"
          : "answer " + std::to_string(answered_ + messages) +
                " of a connection is not the one that was expected: wrong, lost, doubled or out "
                "of order");
  stream.abort();
}

void PipelineConnection::on_data(net::Stream& stream, const net::Received& received) noexcept {
  of(stream).take(stream, received.bytes);
}

void PipelineConnection::on_closed(net::Stream& stream, runtime::Error why) noexcept {
  PipelineConnection& self = of(stream);
  if (self.failed_ || self.shared_.context.stopping) return;
  self.shared_.context.faults.note_closed("the server closed a connection: " + describe(why));
}

}  // namespace corelane::perf
