#include <deque>
#include <memory>
#include <utility>

#include "net/tcp.hpp"

namespace corelane::net {

using runtime::ErrorCode;
using runtime::Result;
using runtime::Task;
using runtime::WaitQueue;

struct TcpListener::State {
  explicit State(Network& of_core) noexcept : network(&of_core) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    while (!accepted.empty()) drop_first();
  }

  static bool on_accept(void* context, Stream& stream) noexcept {
    auto& self = *static_cast<State*>(context);
    auto state = std::make_unique<detail::TcpState>();
    state->stream = &stream;
    stream.set_handler(detail::TcpState::kHandler, state.get());
    self.accepted.push_back(TcpStream(std::move(state)));
    if (self.accepted.size() >= kAcceptedMax) self.network->pause_accepting(self.id);
    if (!self.waiting.empty()) self.waiting.wake_front(WaitQueue::Outcome::granted);
    return true;
  }
  static void on_listen_ended(void* context) noexcept {
    auto& self = *static_cast<State*>(context);
    self.is_closed = true;
    self.waiting.wake_all(WaitQueue::Outcome::closed);
  }
  // The application has not seen this stream.
  void drop_first() noexcept {
    accepted.front().abort();
    accepted.pop_front();
  }
  void end() noexcept {
    is_closed = true;
    waiting.wake_all(WaitQueue::Outcome::closed);
    while (!accepted.empty()) drop_first();
  }
  TcpStream take_first() noexcept {
    TcpStream first = std::move(accepted.front());
    accepted.pop_front();
    if (accepted.size() <= kAcceptedMax / 2 && !is_closed) network->resume_accepting(id);
    return first;
  }

  Network* network;  // while it is not closed
  ListenerId id;
  std::deque<TcpStream> accepted;
  WaitQueue waiting{"connection"};
  bool is_closed = false;
  std::size_t calls = 0;   // coroutines in accept() and close()
  bool is_let_go = false;  // the listener is gone: the last call deletes this
};

// A call that may outlive its listener.
class TcpListener::Call {
 public:
  explicit Call(State& state) noexcept : state_(state) { ++state_.calls; }
  ~Call() {
    if (--state_.calls == 0 && state_.is_let_go) delete &state_;
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  State* operator->() const noexcept { return &state_; }

 private:
  State& state_;
};

TcpListener::TcpListener(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
TcpListener::TcpListener(TcpListener&&) noexcept = default;

TcpListener& TcpListener::operator=(TcpListener&& other) noexcept {
  if (this != &other) {
    let_go();
    state_ = std::move(other.state_);
  }
  return *this;
}

TcpListener::~TcpListener() {
  let_go();
}

void TcpListener::let_go() noexcept {
  if (state_ == nullptr) return;
  const bool listens = !state_->is_closed;
  state_->end();
  if (listens) state_->network->begin_stop_listening(state_->id);
  if (state_->calls == 0) {
    state_.reset();
  } else {
    state_.release()->is_let_go = true;
  }
}

Result<TcpListener> TcpListener::listen(const runtime::Address& address,
                                        const runtime::ListenOptions& options) {
  Network& network = Network::local();
  auto state = std::make_unique<State>(network);
  const auto id = network.listen(address, options, State::on_accept, state.get());
  if (!id) return runtime::Unexpected{id.error()};
  state->id = *id;
  network.set_listen_ended(*id, State::on_listen_ended);
  return TcpListener(std::move(state));
}

Task<Result<TcpStream>> TcpListener::accept() {
  RT_ASSERT(state_ != nullptr);
  const Call state{*state_};
  for (;;) {
    if (!state->accepted.empty()) co_return state->take_first();
    if (state->is_closed) co_return runtime::fail(ErrorCode::closed);
    WaitQueue::Waiter waiter{state->waiting};
    const auto outcome = co_await waiter;
    if (outcome == WaitQueue::Outcome::cancelled) co_return runtime::fail(ErrorCode::cancelled);
  }
}

Result<runtime::Address> TcpListener::address() const {
  RT_ASSERT(state_ != nullptr);
  if (state_->is_closed) return runtime::fail(ErrorCode::closed);
  return state_->network->address_of(state_->id);
}

Task<void> TcpListener::close() {
  RT_ASSERT(state_ != nullptr);
  const Call state{*state_};
  if (!state->is_closed) {
    state->end();
    co_await state->network->stop_listening(state->id);
  }
}

}  // namespace corelane::net
