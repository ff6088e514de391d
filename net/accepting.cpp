// The listeners of Network: when to accept, and how many connections, so that each either gets a
// stream or waits in the backlog until it does.
//
// Each accept in flight takes one connection, and two places are kept for it: a slot of the table
// of streams, and one of the ring's table of direct descriptors. The kernel takes a connection from
// the backlog before it looks for a direct descriptor, and resets the connection if there is none.
// Without a slot for the stream, Network would have to close the connection. A multishot accept has
// no such bound: it takes all waiting connections before its first completion is seen.

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "net/network.hpp"
#include "net/peer_log.hpp"
#include "runtime/log.hpp"

namespace corelane::net {

using runtime::Completion;
using runtime::Result;
using runtime::Sink;
using runtime::Token;

namespace {

constexpr runtime::Nanoseconds kAcceptRetry = 100 * runtime::kMillisecond;
constexpr runtime::Nanoseconds kTellEvery = 10 * runtime::kSecond;

constinit runtime::LogReason kCannotAccept{"cannot accept"};
constinit runtime::LogReason kNoPlace{"no room for a connection"};
constinit runtime::LogReason kRefused{"connection refused"};

}  // namespace

Result<ListenerId> Network::listen(const runtime::Address& address,
                                   const runtime::ListenOptions& options, AcceptFunction accept,
                                   void* context) {
  if (stopping_) return runtime::fail(runtime::ErrorCode::closed);
  const auto descriptor = core_.ring().listen(address, options);
  if (!descriptor) return runtime::Unexpected{descriptor.error()};
  // The slot of one that is closed is used again.
  std::uint32_t index = 0;
  while (index < listeners_.size() && listeners_[index].descriptor.valid()) ++index;
  if (index == listeners_.size()) listeners_.emplace_back();
  const std::uint32_t generation = listeners_[index].generation + 1;
  listeners_[index] = {
      .descriptor = *descriptor, .accept = accept, .context = context, .generation = generation};
  note_places();
  if (!arm_accepts(index)) note_pause();
  return ListenerId{.index = index, .generation = generation};
}

Result<runtime::Address> Network::address_of(ListenerId listener) {
  const Listener* const found = listener_of(listener);
  if (found == nullptr) return runtime::fail(runtime::ErrorCode::closed);
  return core_.ring().local_address(found->descriptor);
}

// Null: it is closed.
Network::Listener* Network::listener_of(ListenerId id) noexcept {
  if (id.index >= listeners_.size()) return nullptr;
  Listener& listener = listeners_[id.index];
  return listener.generation == id.generation && listener.descriptor.valid() ? &listener : nullptr;
}

void Network::set_listen_ended(ListenerId id, ListenEnded function) noexcept {
  if (Listener* listener = listener_of(id)) listener->ended = function;
}

void Network::pause_accepting(ListenerId id) noexcept {
  Listener* listener = listener_of(id);
  if (listener == nullptr || listener->paused) return;
  listener->paused = true;
  if (listener->armed > 0) end_accepts(id.index);
}

void Network::resume_accepting(ListenerId id) noexcept {
  Listener* listener = listener_of(id);
  if (listener == nullptr || !listener->paused) return;
  listener->paused = false;
  if (!arm_accepts(id.index)) note_pause();
}

// Places for connections that have not been accepted.
std::uint32_t Network::places() const noexcept {
  const std::uint32_t count = streams_.count();
  const std::uint32_t streams = options_.streams_max - std::min(options_.streams_max, count);
  return options_.direct_descriptors ? std::min(streams, direct_table_ - direct_used_) : streams;
}

// Places reserved for armed accepts: one for each listener.
std::uint32_t Network::accepts_kept() const noexcept {
  return std::min(accepts_armed_, static_cast<std::uint32_t>(listeners_.size()));
}

// Arms accepts up to the bound. While few places are left, each listener has one accept, so that a
// quiet listener holds no places that others need. False: no accept of the listener is armed.
bool Network::arm_accepts(std::uint32_t index) noexcept {
  Listener& listener = listeners_[index];
  const std::uint32_t most = few_places_ ? 1 : kAccepts;
  if (listener.stopped || listener.ending || listener.paused) return true;
  while (listener.armed < most && accepts_armed_ < places()) arm_accept(index);
  return listener.armed > 0;
}

void Network::arm_accept(std::uint32_t index) noexcept {
  Listener& listener = listeners_[index];
  ++listener.armed;
  ++accepts_armed_;
  core_.ring().accept(listener.descriptor, options_.direct_descriptors,
                      Token::make(Sink::accept, index, 0));
}

// The two bounds differ (hysteresis), so that small changes of the number of places cancel no
// accepts.
void Network::note_places() noexcept {
  const std::uint32_t places_left = places();
  const auto all = static_cast<std::uint32_t>(listeners_.size()) * kAccepts;
  if (few_places_) {
    few_places_ = places_left < 2 * all;
  } else if (places_left < all) {
    few_places_ = true;
    for (std::uint32_t i = 0; i < listeners_.size(); ++i) {
      if (listeners_[i].armed > 1) end_accepts(i);
    }
  }
}

// Cancels all accepts of a listener; new ones are armed once they have ended. A cancelled accept
// that a connection has already woken does not pass the wake-up on. A new accept checks the
// backlog first, so it takes that connection.
void Network::end_accepts(std::uint32_t index) noexcept {
  Listener& listener = listeners_[index];
  if (listener.ending) return;
  listener.ending = true;
  core_.ring().cancel_all(Token::make(Sink::accept, index, 0));
}

void Network::on_accept(const Completion& completion) noexcept {
  const std::uint32_t index = completion.token.slot();
  Listener& listener = listeners_[index];
  RT_ASSERT(!completion.more);
  RT_ASSERT(listener.armed > 0);
  --listener.armed;
  --accepts_armed_;
  if (completion.result >= 0) {
    listener.failed = false;
    take(listener, {.number = completion.result, .direct = options_.direct_descriptors});
    note_places();
  }
  if (listener.armed == 0) listener.ending = false;
  if (listener.stopped) {
    if (listener.armed == 0) end_listener(index);
    return;
  }
  const int error = completion.result < 0 ? -completion.result : 0;
  const bool over_at_once =  // of one connection, or of nothing
      error == 0 || error == ECONNABORTED || error == EINTR || error == EAGAIN ||
      error == ECANCELED || error == EPROTO;
  // EMFILE, ENFILE, ENOMEM, or anything: again at once would spin.
  if (!over_at_once) {
    listener.failed = true;
    log_accept_failure(error);
  }
  if (listener.failed || !arm_accepts(index)) note_pause();
}

void Network::take(Listener& listener, runtime::Descriptor descriptor) noexcept {
  if (descriptor.direct) ++direct_used_;
  Stream* stream = stopping_ ? nullptr : make_stream(descriptor);
  if (stream == nullptr) {
    refuse(descriptor);
  } else if (!listener.accept(listener.context, *stream)) {
    ++counters_.refused;
    log_peer(*stream, kRefused, runtime::LogLevel::info,
             [] { return std::string{"closed: the application takes no connection"}; });
    stream->abort();
  } else {
    ++counters_.accepted;
    RT_ASSERT(stream->handler_ != nullptr);
    arm_receive(*stream);
  }
}

Stream* Network::make_stream(runtime::Descriptor descriptor) {
  const auto made = streams_.emplace(*this, descriptor);
  if (made.value == nullptr) return nullptr;
  made.value->id_ = {made.id.slot, made.id.generation};
  return made.value;
}

// A client stream of ours has taken the place that was kept for it, or the network is stopping.
void Network::refuse(runtime::Descriptor descriptor) noexcept {
  ++counters_.refused;
  ++refusing_;
  core_.ring().close(descriptor, Token::make(Sink::close, kNoStream, 0));
}

// A listener waits for a place (on_close), or for its failure to be over (on_close, or the timer).
void Network::note_pause() noexcept {
  bool any_waits = false;
  bool any_failed = false;
  for (const Listener& listener : listeners_) {
    if (listener.stopped || listener.paused) continue;
    any_failed = any_failed || listener.failed;
    any_waits = any_waits || (listener.armed == 0 && !listener.ending);
  }
  const bool pauses = any_waits || any_failed;
  if (pauses && !accept_paused_) {
    ++counters_.accept_pauses;
    if (!any_failed) log_no_place();
  }
  accept_paused_ = pauses;
  if (any_failed && !accept_retry_.queued()) {
    core_.timers().add(accept_retry_, core_.now() + kAcceptRetry);
  }
}

// Failures and a lack of places may last long: each is logged at most once in kTellEvery.
bool Network::is_to_be_told(runtime::Nanoseconds& told_at) const noexcept {
  if (told_at != 0 && core_.now() - told_at < kTellEvery) return false;
  told_at = core_.now();
  return true;
}

void Network::log_accept_failure(int error) {
  if (!is_to_be_told(failure_told_at_)) return;
  runtime::log_limited(kCannotAccept, runtime::LogLevel::warning, [&] {
    const bool is_limit = error == EMFILE || error == ENFILE;
    return fmt::format("cannot accept a connection: {}; it waits{}",
                       describe(runtime::Error::from_errno(error)),
                       error == EMFILE ? " (raise the limit of open files: ulimit -n, LimitNOFILE=)"
                       : is_limit      ? " (raise fs.file-max)"
                                       : "");
  });
}

void Network::log_no_place() {
  if (!is_to_be_told(no_place_told_at_)) return;
  runtime::log_limited(kNoPlace, runtime::LogLevel::warning, [&] {
    const bool of_streams = streams_.count() + accepts_kept() >= options_.streams_max;
    return fmt::format("core {} has {} connections, as many as {}; others wait", core_.id(),
                       streams_.count(),
                       of_streams ? "it may have (limits.connections_max)"
                                  : "the limit of open files allows (ulimit -n, LimitNOFILE=)");
  });
}

// Called when there may be a place, or when the failure may be over. The first listener rotates,
// because there may be only one place.
void Network::resume_accepting() noexcept {
  note_places();
  const auto count = static_cast<std::uint32_t>(listeners_.size());
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint32_t index = (first_to_accept_ + i) % count;
    const Listener& listener = listeners_[index];
    if (!listener.failed) {
      arm_accepts(index);
    } else if (!listener.stopped && !listener.ending && !listener.paused &&
               listener.armed < kAccepts && accepts_armed_ < places()) {
      arm_accept(index);  // one, also beside others that sleep: it looks at the backlog
    }
  }
  if (count != 0) first_to_accept_ = (first_to_accept_ + 1) % count;
  note_pause();
}

void Network::stop_listener(std::uint32_t index) noexcept {
  Listener& listener = listeners_[index];
  if (listener.stopped) return;
  listener.stopped = true;
  if (listener.armed > 0) {
    end_accepts(index);
  } else {
    end_listener(index);
  }
}

// None of its accepts is in flight any more.
void Network::end_listener(std::uint32_t index) noexcept {
  Listener& listener = listeners_[index];
  core_.ring().close_now(std::exchange(listener.descriptor, {}));
  if (listener.ended != nullptr) listener.ended(listener.context);
  listeners_closed_.wake_all(runtime::WaitQueue::Outcome::granted);
}

void Network::begin_stop_listening(ListenerId id) noexcept {
  Listener* listener = listener_of(id);
  if (listener == nullptr) return;
  listener->accept = [](void*, Stream&) noexcept { return false; };
  listener->ended = nullptr;
  stop_listener(id.index);
}

runtime::Task<void> Network::stop_listening(ListenerId id) {
  const EndingWait wait(*this);
  begin_stop_listening(id);
  while (listener_of(id) != nullptr) {
    runtime::WaitQueue::Waiter waiter{listeners_closed_, runtime::WaitQueue::OnCancel::ignore};
    co_await waiter;
  }
}

runtime::Task<void> Network::stop_listening() {
  const EndingWait wait(*this);
  for (std::uint32_t i = 0; i < listeners_.size(); ++i) stop_listener(i);
  for (std::size_t i = 0; i < listeners_.size(); ++i) {
    while (listeners_[i].stopped && listeners_[i].descriptor.valid()) {
      runtime::WaitQueue::Waiter waiter{listeners_closed_, runtime::WaitQueue::OnCancel::ignore};
      co_await waiter;
    }
  }
}

}  // namespace corelane::net
