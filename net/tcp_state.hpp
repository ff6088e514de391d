#pragma once
// TcpState connects a Stream's callbacks with the coroutines that wait on a TcpStream (net/tcp.hpp
// is the interface; nothing else needs this header by itself). TcpState is the stream's owner: it
// keeps the unread input (TcpInput), one reader and any number of writers that take turns. TcpState
// lies in a block of the core's free list: a connection costs no allocation once the core is warm.
//
//   on_data ----> input ----> ReadWait (one)          full: pause_receiving; read: resume_receiving
//   WriteWaits (in turn) ----> send queue             full: wait; on_writable goes on
//
// Belongs to the stream's core. `stream` is null from on_closed on.

#include <coroutine>
#include <cstddef>
#include <span>
#include <utility>

#include "net/network.hpp"
#include "net/received_bytes.hpp"
#include "net/stream.hpp"
#include "net/tcp_input.hpp"
#include "runtime/cancel.hpp"
#include "runtime/core.hpp"
#include "runtime/result.hpp"
#include "runtime/task.hpp"
#include "runtime/wait_queue.hpp"

namespace corelane::net::detail {

struct TcpState;

// One wait of a coroutine on a stream. It can be cancelled, which changes nothing but the wait.
class TcpWait : private runtime::Cancellable {
 public:
  TcpWait(const TcpWait&) = delete;
  TcpWait& operator=(const TcpWait&) = delete;

  // Ends the wait: the coroutine goes on in this turn or the next.
  void wake() noexcept {
    unlink();
    is_woken_ = true;
    runtime::Core::current().schedule(handle_, name_);
  }

 protected:
  explicit TcpWait(TcpState& state) noexcept : state_(state) {}
  ~TcpWait() = default;

  // False: the scope is cancelled already, and nothing is waited for.
  template <class Promise>
  bool begin(std::coroutine_handle<Promise> handle, const char* name) noexcept {
    runtime::CancelScope* const scope = runtime::scope_of(handle);
    if (scope != nullptr && scope->cancelled()) {
      is_cancelled_ = true;
      return false;
    }
    name_ = scope != nullptr ? scope->name() : name;
    handle_ = handle;
    what_ = name;
    begin_.set(runtime::Core::current().now());
    if (scope != nullptr) scope->add(*this);
    return true;
  }
  bool is_cancelled() const noexcept { return is_cancelled_; }
  bool is_woken() const noexcept { return is_woken_; }
  virtual void leave() noexcept = 0;

  TcpState& state_;

 private:
  void on_cancel() noexcept override {
    is_cancelled_ = true;
    leave();
    wake();
  }
  bool describe_wait(runtime::Nanoseconds now, runtime::TaskWait& wait) const noexcept final;

  std::coroutine_handle<> handle_;
  const char* name_ = "";
  const char* what_ = "";
  bool is_cancelled_ = false;
  bool is_woken_ = false;
  runtime::WaitBegin begin_;
};

// Waits until more than `known` bytes can be read, or for the end.
class ReadWait : public TcpWait {
 public:
  ReadWait(TcpState& state, std::size_t known) noexcept : TcpWait(state), known_(known) {}

  bool await_ready() const noexcept;
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) noexcept;
  runtime::Result<void> await_resume() noexcept;

 protected:
  ~ReadWait() = default;

 private:
  friend struct TcpState;
  void leave() noexcept final;
  const std::size_t known_;
};

class WaitForMore final : public ReadWait {
 public:
  using ReadWait::ReadWait;
};

// Waits until all that it has to send is in the queue, behind the writers that came before it.
class WriteWait : public TcpWait {
 public:
  bool await_ready() noexcept;
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) noexcept;

 protected:
  explicit WriteWait(TcpState& state) noexcept : TcpWait(state) {}
  ~WriteWait() = default;
  // Gives the queue as much as it takes. True: that was all, or enough.
  virtual bool send_some(Stream& stream) noexcept = 0;
  runtime::Result<void> outcome() const noexcept;

 private:
  friend struct TcpState;
  void leave() noexcept final;
  // True: there is nothing to wait for any more. The state may be gone when the coroutine goes on.
  bool go_on() noexcept;
  bool fail_with(runtime::Error error) noexcept {
    error_ = error;
    return true;
  }

  WriteWait* next_ = nullptr;
  bool is_done_ = false;
  runtime::Error error_{runtime::ErrorCode::cancelled};
};

struct TcpState : runtime::InFramePool {
  Stream* stream = nullptr;
  TcpInput input;
  ReadWait* reader = nullptr;  // from its suspension until it has resumed
  WriteWait* first_writer = nullptr;
  WriteWait* last_writer = nullptr;
  runtime::WaitQueue gone{"close"};  // for close()
  runtime::Error why{};              // the stream is gone
  bool has_ended = false;            // the peer has half-closed
  bool is_shut = false;              // shutdown_send(), close()
  bool is_late = false;              // the deadline has passed
  bool has_looked = false;           // Stream::look_again()

  static const StreamHandler kHandler;

  // Something to read, or the reason why there will be nothing.
  bool can_read(std::size_t known) const noexcept {
    return input.bytes() > known || has_ended || is_late || stream == nullptr;
  }
  // After reading.
  void note_read() noexcept {
    if (stream != nullptr && stream->receiving_paused() && input.has_room()) {
      stream->resume_receiving();
    }
  }
  // A reader waits for more than a full input holds.
  void let_more_come() noexcept {
    if (stream != nullptr && stream->receiving_paused()) stream->resume_receiving();
  }
  void add_writer(WriteWait& writer) noexcept;
  void remove_writer(const WriteWait& writer) noexcept;
  void go_on_writing() noexcept;
  // True: it waited, and has been woken.
  bool wake_reader() noexcept {
    if (reader == nullptr || reader->is_woken()) return false;
    reader->wake();
    return true;
  }
  // Unread bytes must not keep receive buffers that other streams need.
  void pause_when_full() noexcept {
    if (!input.is_full()) return;
    input.give_back_buffers();
    stream->pause_receiving();
  }
  void wake_all() noexcept;
};

// How many bytes of `rest` fit into the queue now; 0: wait until it is writable.
std::size_t room_for(Stream& stream, std::size_t rest) noexcept;
// Copies as many of `bytes` as fit into the queue now; returns how many. Up to 64 KiB go into
// blocks that the core keeps, without an allocation.
std::size_t send_fitting(Stream& stream, std::span<const std::byte> bytes) noexcept;

inline bool TcpWait::describe_wait(runtime::Nanoseconds now,
                                   runtime::TaskWait& wait) const noexcept {
  wait.kind = runtime::WaitKind::operation;
  wait.what = what_;
  if (state_.stream != nullptr) wait.descriptor = state_.stream->descriptor();
  wait.waited = begin_.waited(now);
  return true;
}

template <class Promise>
bool ReadWait::await_suspend(std::coroutine_handle<Promise> handle) noexcept {
  if (!begin(handle, "read")) return false;
  state_.reader = this;
  state_.let_more_come();
  return true;
}

template <class Promise>
bool WriteWait::await_suspend(std::coroutine_handle<Promise> handle) noexcept {
  if (!begin(handle, "write")) return false;
  state_.add_writer(*this);
  return true;
}

}  // namespace corelane::net::detail
