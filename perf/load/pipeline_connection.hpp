#pragma once
// PipelineConnection: sends messages of a ring and expects their answers in order, a fixed number
// in flight. Closed loop: an answer makes room for the next message, which is sent in the same
// turn. Open loop: offer() brings messages when they are due; messages beyond the depth wait.
// Latency counts from the moment when a message was handed to its connection, or was due.
//
// The load owns it and outlives its streams. The stream that brings the answers has it as its
// owner; messages leave by the same one, unless send_by() names another.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "net/network.hpp"
#include "perf/load/answer_checker.hpp"
#include "perf/load/load.hpp"
#include "perf/load/message_ring.hpp"
#include "perf/load/time_queue.hpp"

namespace corelane::perf {

// What the connections of a load share.
struct PipelineShared {
  LoadContext& context;
  std::uint64_t offered = 0;
  std::uint64_t answered = 0;
};

class PipelineConnection {
 public:
  // `ring` outlives it; its first message is `first`.
  PipelineConnection(PipelineShared& shared, const MessageRing& ring, std::size_t first,
                     std::unique_ptr<AnswerChecker> checker)
      : shared_(shared),
        ring_(ring),
        next_(first),
        checker_(std::move(checker)),
        sent_at_(shared.context.settings.depth) {}

  // Before start() and offer(). May have ended already.
  void send_by(net::StreamId stream) noexcept { out_ = stream; }
  net::StreamId out() const noexcept { return out_; }

  void start();
  void offer(runtime::Nanoseconds due);
  void drop_waiting() noexcept { shared_.offered -= std::exchange(waiting_, 0); }
  std::uint64_t unanswered() const noexcept { return in_flight_ + waiting_; }

  static const net::StreamHandler kHandler;

 private:
  static PipelineConnection& of(net::Stream& stream) {
    return *static_cast<PipelineConnection*>(stream.owner());
  }
  std::uint32_t depth() const noexcept { return shared_.context.settings.depth; }

  void send(std::size_t count);
  void take(net::Stream& stream, std::span<const std::byte> bytes);
  void record(std::size_t messages, runtime::Nanoseconds now);
  void refill(std::size_t messages, runtime::Nanoseconds now);
  [[gnu::cold]] void convict(net::Stream& stream, std::size_t messages);

  static void on_data(net::Stream& stream, const net::Received& received) noexcept;
  static void on_end(net::Stream& stream) noexcept { stream.close(0); }
  static void on_closed(net::Stream& stream, runtime::Error why) noexcept;
  static void on_timer(net::Stream&) noexcept {}
  static void on_writable(net::Stream&) noexcept {}

  PipelineShared& shared_;
  const MessageRing& ring_;
  std::size_t next_;  // number of the next message to send
  std::unique_ptr<AnswerChecker> checker_;
  net::StreamId out_;
  TimeQueue sent_at_;  // of the messages in flight and waiting
  std::uint64_t in_flight_ = 0;
  std::uint64_t waiting_ = 0;
  std::uint64_t answered_ = 0;
  bool failed_ = false;
};

}  // namespace corelane::perf
