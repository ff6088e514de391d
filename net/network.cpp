#include "net/network.hpp"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <stdexcept>

#include "net/peer_log.hpp"
#include "net/tcp_input.hpp"
#include "runtime/await.hpp"
#include "runtime/runtime.hpp"

namespace corelane::net {

using runtime::Completion;
using runtime::Core;
using runtime::Error;
using runtime::ErrorCode;
using runtime::Result;
using runtime::Sink;
using runtime::Token;

namespace {

constexpr std::size_t kTimersMax = 1024;  // streams told in one go
// More than the longest turn but those that are stalls; a wrong guess costs a tick.
constexpr runtime::Nanoseconds kTickLate = 20 * runtime::kMillisecond;

template <class Owner, auto Member>
void call(void* context, const Completion& completion) noexcept {
  (static_cast<Owner*>(context)->*Member)(completion);
}

runtime::BufferPool::GroupOptions small_buffers(const NetworkOptions& options) {
  return {.buffer_bytes = options.receive_buffer_bytes, .count = options.receive_buffers};
}

// At start-up only, where throwing is for.
void require(const Result<std::uint16_t>& group, const char* what) {
  if (!group) {
    throw BuffersRefused(fmt::format("cannot register {}: {}", what, describe(group.error())));
  }
}

}  // namespace

runtime::CoarseLink& Network::TimerLinks::operator()(std::uint32_t slot) const noexcept {
  return network->streams_.at(slot).timer_;
}

Network::Network(const NetworkOptions& options)
    : options_(options),
      core_(claim_core()),
      buffers_(core_.ring()),
      send_pool_(buffers_),
      streams_(options.streams_max),
      coarse_({}, core_.now(), TimerLinks{this}),
      tick_(
          *this,
          [](runtime::Timer& timer) noexcept { static_cast<OwnTimer&>(timer).network.on_tick(); }),
      accept_retry_(*this,
                    [](runtime::Timer& timer) noexcept {
                      static_cast<OwnTimer&>(timer).network.resume_accepting();
                    }),
      held_retry_(*this,
                  [](runtime::Timer& timer) noexcept {
                    static_cast<OwnTimer&>(timer).network.deliver_held_up();
                  }),
      large_wait_(*this,
                  [](runtime::Timer& timer) noexcept {
                    static_cast<OwnTimer&>(timer).network.on_large_wait();
                  }),
      stall_look_(*this,
                  [](runtime::Timer& timer) noexcept {
                    static_cast<OwnTimer&>(timer).network.look_for_stalls();
                  }),
      flush_rest_(*this,
                  [](runtime::Timer& timer) noexcept {
                    Network& network = static_cast<OwnTimer&>(timer).network;
                    network.core_.request_flush(runtime::FlushPhase::streams, network.flush_hook_);
                  }),
      idle_look_(*this,
                 [](runtime::Timer& timer) noexcept {
                   static_cast<OwnTimer&>(timer).network.look_for_idle();
                 }),
      flush_hook_{[](void* context) noexcept { static_cast<Network*>(context)->flush(); }, this,
                  false},
      peer_log_(std::make_unique<PeerLog>()) {
  options_.queued_bytes_max = std::min(options_.queued_bytes_max, SendQueue::kBytesMax);
  std::size_t size = 0;
  for (const auto& group :
       {small_buffers(options),
        {.buffer_bytes = options.medium_buffer_bytes, .count = options.medium_buffers},
        {.buffer_bytes = options.large_buffer_bytes, .count = options.large_buffers}}) {
    if (size > 0) set_buffers(size, receive_buffers_.groups[size - 1]);
    if (group.count != 0) {
      const auto added = buffers_.add_group(group);
      require(added, "receive buffers");
      set_buffers(size, *added);
    }
    ++size;
  }
  set_buffers(size, group_of(BufferSize::medium));  // discard
  direct_table_ = core_.runtime().options().ring.direct_descriptors;
  if (direct_table_ == 0) options_.direct_descriptors = false;
  core_.set_sink(Sink::accept, call<Network, &Network::on_accept>, this, "accept");
  core_.set_sink(Sink::receive, call<Network, &Network::on_receive>, this, "receive");
  core_.set_row_sink(
      Sink::send,
      [](void* context, std::span<const Completion> row) noexcept {
        static_cast<Network*>(context)->on_sends(row);
      },
      this, "send");
  core_.set_sink(Sink::close, call<Network, &Network::on_close>, this, "close");
  core_.set_sink(Sink::shutdown, call<Network, &Network::on_shutdown>, this, "shutdown");
  core_.set_service(Core::kResidentSlot, this);
}

Network::~Network() {
  while (viewed_ != nullptr) viewed_->settle();
  RT_ASSERT(streams_.count() == 0);
  RT_ASSERT(refusing_ == 0);
  RT_ASSERT(shares_ == 0);  // a SharedNetwork ends before the network that it shares
  core_.set_service(Core::kResidentSlot, nullptr);
  for (const Listener& listener : listeners_) RT_ASSERT(listener.armed == 0);
  core_.timers().cancel(tick_);
  core_.timers().cancel(accept_retry_);
  core_.timers().cancel(held_retry_);
  core_.timers().cancel(large_wait_);
  core_.timers().cancel(stall_look_);
  core_.timers().cancel(flush_rest_);
  set_backlogged(false);
  core_.timers().cancel(idle_look_);
}

void Network::set_buffers(std::size_t size, std::uint16_t group) {
  receive_buffers_.groups[size] = group;
  receive_buffers_.bytes[size] = buffers_.buffer_bytes(group);
}

void Network::keep_viewed(TcpInput& input) {
  input.outlive_stream(viewed_);
}

Token Network::token(Sink sink, const Stream& stream) const noexcept {
  return Token::make(sink, stream.id_.slot, stream.id_.generation);
}

// --- Connecting

runtime::Task<Result<StreamId>> Network::connect(runtime::Address address,
                                                 const StreamHandler& handler, void* owner,
                                                 const runtime::Address* source) {
  if (stopping_) co_return runtime::fail(ErrorCode::closed);
  const auto socket = core_.ring().open_socket(address.family());
  if (!socket) co_return runtime::Unexpected{socket.error()};
  if (source != nullptr) {
    if (const auto bound = core_.ring().bind_source(*socket, *source); !bound) {
      core_.ring().close_now(*socket);
      co_return runtime::Unexpected{bound.error()};
    }
  }
  runtime::OperationAwaiter operation("connect", *socket, [&](runtime::Ring& ring, Token token) {
    ring.connect(*socket, address, token);
  });
  ++connecting_;
  const auto connected = co_await operation;
  --connecting_;
  const bool has_room = streams_.count() + accepts_kept() < options_.streams_max;
  Stream* stream = connected && has_room && !stopping_ ? make_stream(*socket) : nullptr;
  if (stream == nullptr) {
    core_.ring().close_now(*socket);
    if (!connected) co_return runtime::Unexpected{connected.error()};
    if (stopping_) co_return runtime::fail(ErrorCode::closed);
    co_return runtime::fail(ErrorCode::limit_exceeded,
                            static_cast<std::int32_t>(options_.streams_max));
  }
  stream->set_handler(handler, owner);
  arm_receive(*stream);
  note_places();
  co_return stream->id_;
}

// --- Closing

void Network::begin_closing(Stream& stream) noexcept {
  stream.state_ = Stream::State::closing;
  cancel_timer(stream);
  drop_held(stream);
  stream.receiving_.leave_buffers();
  stream.receiving_.set_waits_for_turn(false);
  // By token: to find the operations of a descriptor the kernel looks at all that are armed, which
  // is one for each open connection.
  if (stream.receiving_.in_flight()) core_.ring().cancel(token(Sink::receive, stream));
  if (stream.send_armed_) core_.ring().cancel(token(Sink::send, stream));
  close_if_idle(stream);
}

void Network::close_if_idle(Stream& stream) noexcept {
  if (stream.receiving_.in_flight() || stream.send_armed_ || stream.shutdown_armed_) return;
  if (stream.queue_ != nullptr) {
    stream.queue_->drop_all(send_pool_);
    give_queue(stream);
  }
  stream.state_ = Stream::State::closed;
  core_.ring().close(stream.descriptor(), token(Sink::close, stream));
}

void Network::on_shutdown(const Completion& completion) noexcept {
  Stream* stream = streams_.get(completion.token.slot(), completion.token.generation());
  RT_ASSERT(stream != nullptr);
  stream->shutdown_armed_ = false;
  if (stream->state_ == Stream::State::closing) {
    close_if_idle(*stream);
  } else if (stream->state_ != Stream::State::open) {
    stream->mark_dirty();  // it was closed after its half-close
  }
}

void Network::on_close(const Completion& completion) noexcept {
  if (completion.token.slot() == kNoStream) return on_refused();
  Stream* stream = streams_.get(completion.token.slot(), completion.token.generation());
  RT_ASSERT(stream != nullptr);
  ++counters_.closed;
  if (stream->handler_ != nullptr) stream->handler_->on_closed(*stream, stream->why());
  const StreamId id = stream->id_;
  if (stream->direct_) --direct_used_;
  streams_.erase(id.slot);
  if (gone_ != nullptr) gone_(gone_context_, id);
  if (accept_paused_) resume_accepting();
  if (streams_.count() == 0) streams_gone_.wake_all(runtime::WaitQueue::Outcome::granted);
}

void Network::on_refused() noexcept {
  --refusing_;
  if (options_.direct_descriptors) --direct_used_;
  if (accept_paused_) resume_accepting();
  if (refusing_ == 0) streams_gone_.wake_all(runtime::WaitQueue::Outcome::granted);
}

runtime::Task<void> Network::shutdown() {
  const EndingWait wait(*this);
  co_await stop_listening();
  stopping_ = true;
  streams_.for_each([](auto, Stream& stream) { stream.abort(); });
  while (streams_.count() > 0 || refusing_ > 0) {
    runtime::WaitQueue::Waiter waiter{streams_gone_, runtime::WaitQueue::OnCancel::ignore};
    co_await waiter;
  }
  co_await peer_log_->join();
}

// --- Time

void Network::set_timer(Stream& stream, runtime::Nanoseconds after) noexcept {
  coarse_.reschedule(stream.id_.slot, core_.now() + after);
  queue_tick();
}

void Network::cancel_timer(Stream& stream) noexcept {
  coarse_.cancel(stream.id_.slot);
}

void Network::queue_tick() noexcept {
  if (coarse_.count() == 0) {
    core_.timers().cancel(tick_);
    return;
  }
  // Timers that on_tick() has left run in the next turn: this turn has reached its bound.
  const runtime::Nanoseconds due = std::max(coarse_.next_due(), core_.now() + 1);
  if (!tick_.queued() || tick_.deadline_ns > due) {
    core_.timers().reschedule(tick_, due);
  }
}

void Network::on_tick() noexcept {
  tick_is_late_ = core_.now() - tick_.deadline_ns > kTickLate;
  coarse_.advance(core_.now(), kTimersMax, [this](std::uint32_t slot) {
    Stream& stream = streams_.at(slot);
    if (stream.state_ == Stream::State::open) {
      stream.handler_->on_timer(stream);
    } else if (stream.state_ == Stream::State::lingering) {
      stream.abort();  // all has been sent: the peer just keeps its side open
    } else {
      stream.abort({ErrorCode::timed_out, 0});
    }
  });
  queue_tick();
}

}  // namespace corelane::net
