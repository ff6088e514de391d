#pragma once
// PipelineConnection: sends messages of a ring and expects their answers in order, so many on their
// way at once. Closed loop: an answer makes room for the next message, which is sent in the same
// turn. Open loop: offer() brings messages when they are due, and those beyond the depth wait.
// Latency is counted from the moment a message was handed to its connection, or was due.
//
// The load owns it and outlives its streams. The stream that brings the answers has it as its
// owner; messages leave by the same one, unless send_by() names another.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "net/network.hpp"
#include "perf/load/load.hpp"
#include "perf/load/message_ring.hpp"
#include "perf/load/opener.hpp"
#include "perf/load/time_queue.hpp"

namespace perf {

// What the connections of a load share.
struct PipelineShared {
  LoadContext& context;
  std::uint64_t offered = 0;
  std::uint64_t answered = 0;
};

// Checker is ReplyChecker or has its feed() and control_payload().
template <class Checker>
class PipelineConnection {
 public:
  // `ring` outlives it; its first message is `first`.
  PipelineConnection(PipelineShared& shared, const MessageRing& ring, std::size_t first,
                     Checker checker)
      : shared_(shared),
        ring_(ring),
        next_(first),
        checker_(std::move(checker)),
        sent_at_(shared.context.settings.depth) {}

  // Before start() and offer(). May have ended already.
  void send_by(net::StreamId stream) noexcept { out_ = stream; }
  net::StreamId out() const noexcept { return out_; }

  void start() {
    const runtime::Nanoseconds now = shared_.context.network.core().ring().now();
    for (std::uint32_t i = 0; i < depth(); ++i) sent_at_.push(now);
    shared_.offered += depth();
    send(depth());
  }
  void offer(runtime::Nanoseconds due) {
    ++shared_.offered;
    sent_at_.push(due);
    if (in_flight_ < depth()) {
      send(1);
    } else {
      ++waiting_;
    }
  }
  void drop_waiting() noexcept { shared_.offered -= std::exchange(waiting_, 0); }
  std::uint64_t unanswered() const noexcept { return in_flight_ + waiting_; }

  static const net::StreamHandler kHandler;

 private:
  static PipelineConnection& of(net::Stream& stream) {
    return *static_cast<PipelineConnection*>(stream.owner());
  }
  std::uint32_t depth() const noexcept { return shared_.context.settings.depth; }

  // A piece of the ring, or two where it ends; whatever else this turn adds leaves with it.
  void send(std::size_t count) {
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

  void take(net::Stream& stream, std::span<const std::byte> bytes) {
    const runtime::Nanoseconds now = stream.network().core().ring().now();
    std::size_t messages = 0;
    while (!bytes.empty()) {
      const auto result = checker_.feed(bytes);
      bytes = bytes.subspan(result.consumed);
      messages += result.messages;
      if (result.found == Checker::Found::wrong || messages > in_flight_) {
        return convict(stream, messages);
      }
      if (result.found == Checker::Found::close) {
        record(messages, now);
        return stream.close(0);
      }
      if (result.found == Checker::Found::ping) send_pong(stream, checker_.control_payload());
    }
    record(messages, now);
    if (messages != 0 && !shared_.context.stopping) refill(messages, now);
  }

  void record(std::size_t messages, runtime::Nanoseconds now) {
    in_flight_ -= messages;
    shared_.answered += messages;
    for (std::size_t i = 0; i < messages; ++i) {
      shared_.context.meter.record(now - sent_at_.pop());
    }
    answered_ += messages;
  }

  // `messages` answers have made room.
  void refill(std::size_t messages, runtime::Nanoseconds now) {
    if (shared_.context.settings.is_open_loop()) {
      const std::size_t next = std::min<std::size_t>(waiting_, depth() - in_flight_);
      waiting_ -= next;
      if (next != 0) send(next);
      return;
    }
    for (std::size_t i = 0; i < messages; ++i) sent_at_.push(now);
    shared_.offered += messages;
    send(messages);
  }

  [[gnu::cold]] void convict(net::Stream& stream, std::size_t messages) {
    failed_ = true;
    shared_.context.faults.note_wrong(
        messages > in_flight_
            ? "an answer came that nothing asked for"
            : "answer " + std::to_string(answered_ + messages) +
                  " of a connection is not the one that was expected: wrong, lost, doubled or out "
                  "of order");
    stream.abort();
  }

  static void on_data(net::Stream& stream, const net::Received& received) noexcept {
    of(stream).take(stream, received.bytes);
  }
  static void on_end(net::Stream& stream) noexcept { stream.close(0); }
  static void on_closed(net::Stream& stream, runtime::Error why) noexcept {
    PipelineConnection& self = of(stream);
    if (self.failed_ || self.shared_.context.stopping) return;
    self.shared_.context.faults.note_closed("the server closed a connection: " + describe(why));
  }
  static void on_timer(net::Stream&) noexcept {}
  static void on_writable(net::Stream&) noexcept {}

  PipelineShared& shared_;
  const MessageRing& ring_;
  std::size_t next_;  // number of the next message to send
  Checker checker_;
  net::StreamId out_;
  TimeQueue sent_at_;  // of the messages in flight and waiting
  std::uint64_t in_flight_ = 0;
  std::uint64_t waiting_ = 0;
  std::uint64_t answered_ = 0;
  bool failed_ = false;
};

template <class Checker>
const net::StreamHandler PipelineConnection<Checker>::kHandler{"pipeline", on_data,  on_end,
                                                               on_closed,  on_timer, on_writable};

}  // namespace perf
