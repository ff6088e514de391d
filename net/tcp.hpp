#pragma once
// Sockets for coroutines: TcpListener and TcpStream, over TCP and Unix sockets alike (the address
// says which). A layer over Network and Stream of the core (Network::local()), whose callbacks stay
// the fast path; a stream of this layer costs one small object beside its Stream.
//
//   Task<void> echo(net::TcpStream stream) {
//     for (;;) {
//       auto bytes = co_await stream.read_some();      // a lease: no copy
//       if (!bytes) co_return;                         // end of file, or an error
//       auto sent = co_await stream.write_all(std::move(*bytes));
//       if (!sent) co_return;
//     }                                                // the destructor closes in the background
//   }
//   auto listener = net::TcpListener::listen(*Address::parse("127.0.0.1:7000"));
//   for (;;) {
//     auto stream = co_await listener->accept();
//     if (!stream) break;
//     group.spawn("echo", echo, std::move(*stream));
//   }
//
// All on the core that made the object. At most one coroutine reads a stream at a time; several may
// write, and take turns, the bytes of one call together. Functions that return something to
// co_await suspend only if they have to wait.
//
// Waits end with `cancelled` when their scope is cancelled, by with_timeout for instance. A
// cancelled read has taken nothing: the bytes are there for the next one. A cancelled write may
// have sent any part.
//
// Errors of reading: end_of_file (the peer has half-closed, and all has been read; sending goes
// on), cancelled, timed_out (set_deadline), closed (abort(), or the network ended),
// limit_exceeded (read_until, read_line, and a core that is short of memory), or the errno that
// ended the connection (ECONNRESET, ETIMEDOUT, ...). read_some() reads all that came before an
// error; read_exactly(), read_until() and read_line() return it when the bytes before it are too
// few, and leave them unread. Errors of writing: the same without end_of_file, and `closed` after
// shutdown_send().
//
// Bounds: input that is not read (TcpInput: 256 KiB and one receive buffer) and output that the
// peer does not take (NetworkOptions::queued_bytes_max); then the peer, or the writer, waits.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "net/network.hpp"
#include "net/received_bytes.hpp"
#include "net/tcp_state.hpp"
#include "runtime/address.hpp"
#include "runtime/duration.hpp"
#include "runtime/result.hpp"
#include "runtime/shared_bytes.hpp"
#include "runtime/task.hpp"
#include "runtime/task_group.hpp"

namespace corelane::net {

namespace detail {

// What the functions of TcpStream return: to be awaited in the same expression, or passed to
// with_timeout.
template <class ResultOf, class WaitOf, class Argument>
class [[nodiscard]] TcpCall {
 public:
  using Value = ResultOf;
  TcpCall(TcpState& state, Argument argument) noexcept
      : state_(state), argument_(std::move(argument)) {}
  WaitOf operator co_await() && noexcept { return WaitOf(state_, std::move(argument_)); }

 private:
  TcpState& state_;
  Argument argument_;
};

class ReadInto final : public ReadWait {
 public:
  ReadInto(TcpState& state, std::span<std::byte> into) noexcept : ReadWait(state, 0), into_(into) {}
  runtime::Result<std::size_t> await_resume() noexcept;

 private:
  std::span<std::byte> into_;
};

struct Nothing {};
class ReadLease final : public ReadWait {
 public:
  ReadLease(TcpState& state, Nothing) noexcept : ReadWait(state, 0) {}
  runtime::Result<ReceivedBytes> await_resume() noexcept;
};

// Bytes of the caller, which are copied.
using Parts = std::span<const std::span<const std::byte>>;
class WriteParts final : public WriteWait {
 public:
  WriteParts(TcpState& state, Parts parts) noexcept : WriteWait(state), parts_(parts) {}
  WriteParts(TcpState& state, std::span<const std::byte> bytes) noexcept
      : WriteWait(state), one_(bytes), parts_(&one_, 1) {}
  runtime::Result<void> await_resume() const noexcept { return outcome(); }

 private:
  bool send_some(Stream& stream) noexcept override;

  std::span<const std::byte> one_;
  Parts parts_;
  std::size_t part_ = 0;    // where it goes on
  std::size_t offset_ = 0;  // in that part
};

class WriteSome final : public WriteWait {
 public:
  WriteSome(TcpState& state, std::span<const std::byte> bytes) noexcept
      : WriteWait(state), bytes_(bytes) {}
  runtime::Result<std::size_t> await_resume() const noexcept;

 private:
  bool send_some(Stream& stream) noexcept override;

  std::span<const std::byte> bytes_;
  std::size_t sent_ = 0;
};

class WriteLease final : public WriteWait {
 public:
  WriteLease(TcpState& state, ReceivedBytes bytes) noexcept
      : WriteWait(state), bytes_(std::move(bytes)) {}
  runtime::Result<void> await_resume() const noexcept { return outcome(); }

 private:
  bool send_some(Stream& stream) noexcept override;

  ReceivedBytes bytes_;
};

struct SharedPart {
  runtime::SharedBytes block;
  std::span<const std::byte> part;
};
class WriteShared final : public WriteWait {
 public:
  WriteShared(TcpState& state, SharedPart bytes) noexcept
      : WriteWait(state), bytes_(std::move(bytes)) {}
  runtime::Result<void> await_resume() const noexcept { return outcome(); }

 private:
  bool send_some(Stream& stream) noexcept override;

  SharedPart bytes_;
};

}  // namespace detail

class TcpStream {
 public:
  // How long close() waits for the peer's end, so that its unread input does not destroy our last
  // bytes by a reset.
  static constexpr runtime::Duration kLinger{1 * runtime::kSecond};

  // Connects from the core that calls. `source`: as Network::connect. Errors: errnos of connect(2)
  // and bind(2), cancelled, limit_exceeded (NetworkOptions::streams_max).
  static runtime::Task<runtime::Result<TcpStream>> connect(
      runtime::Address address, const runtime::Address* source = nullptr);

  TcpStream() = default;  // no stream: only to be assigned to
  TcpStream(TcpStream&&) noexcept = default;
  TcpStream& operator=(TcpStream&& other) noexcept;
  // Closes in the background, as close() does. No coroutine may wait on the stream.
  ~TcpStream();

  // False after close(), and for one that was moved away: then only assignment, destruction,
  // abort() and stream() are allowed.
  explicit operator bool() const noexcept { return state_ != nullptr; }

  // --- Reading

  // Waits for one byte, then copies as many as have come and fit. `into` is not empty.
  auto read_some(std::span<std::byte> into) noexcept {
    return detail::TcpCall<runtime::Result<std::size_t>, detail::ReadInto, std::span<std::byte>>(
        state(), into);
  }
  // Waits for one byte, then gives what came together, where it lies: at least one byte, at most a
  // receive buffer.
  auto read_some() noexcept {
    return detail::TcpCall<runtime::Result<ReceivedBytes>, detail::ReadLease, detail::Nothing>(
        state(), detail::Nothing{});
  }
  // Fills `into`, or takes nothing.
  runtime::Task<runtime::Result<void>> read_exactly(std::span<std::byte> into);
  // The bytes up to and with `delimiter` (1 to 64 bytes), where they lie if they lie together:
  // valid until the next call that reads, the end of this object (close() too) or of its network,
  // also when the connection breaks before. limit_exceeded: `bytes_max` bytes, the delimiter
  // included, have come without it. With an error nothing is taken.
  runtime::Task<runtime::Result<std::string_view>> read_until(std::string_view delimiter,
                                                              std::size_t bytes_max);
  // The same for a line, without its "\n" or "\r\n".
  runtime::Task<runtime::Result<std::string_view>> read_line(std::size_t bytes_max);
  // The connection is there, and the peer has not half-closed, as far as is known.
  bool is_live() const noexcept { return state().stream != nullptr && !state().has_ended; }
  // Bytes that have come and are not read.
  std::size_t unread_bytes() const noexcept { return state().input.bytes(); }

  // For parsers: looks at what has come, in one piece, and says how much of it was used.
  //
  //   for (auto more = co_await stream.wait_for_more(); more;
  //        more = co_await stream.wait_for_more()) {
  //     stream.consume(parse(stream.unread()));
  //   }
  //
  // Valid until the next call that reads, consume() among them. Joined if it lies in several
  // pieces.
  std::span<const std::byte> unread() { return state_->input.unread(); }
  // At most as many as unread() has shown.
  void consume(std::size_t bytes) noexcept {
    state_->input.consume(bytes);
    state_->note_read();
  }
  // Waits for bytes that unread() has not shown yet. What it has shown stays until it is consumed,
  // any number of bytes: the caller says what is too much.
  auto wait_for_more() noexcept {
    return detail::TcpCall<runtime::Result<void>, detail::WaitForMore, std::size_t>(
        *state_, state_->input.seen());
  }

  // --- Writing. Bytes are in the queue when it returns, and leave at the end of the turn.

  // Copies.
  auto write_all(std::span<const std::byte> bytes) noexcept {
    return detail::TcpCall<runtime::Result<void>, detail::WriteParts, std::span<const std::byte>>(
        state(), bytes);
  }
  auto write_all(std::string_view text) noexcept {
    return write_all(std::as_bytes(std::span{text}));
  }
  // Several pieces, one behind the other. The list itself is not copied.
  auto write_all(std::span<const std::span<const std::byte>> parts) noexcept {
    return detail::TcpCall<runtime::Result<void>, detail::WriteParts, detail::Parts>(state(),
                                                                                     parts);
  }
  // Without a copy: what a stream of this core has received (a copy if buffers are scarce).
  auto write_all(ReceivedBytes bytes) noexcept {
    return detail::TcpCall<runtime::Result<void>, detail::WriteLease, ReceivedBytes>(
        state(), std::move(bytes));
  }
  // Without a copy: a part of shared memory, of which the queue holds a handle.
  auto write_all(const runtime::SharedBytes& block, std::span<const std::byte> part) noexcept {
    return detail::TcpCall<runtime::Result<void>, detail::WriteShared, detail::SharedPart>(
        state(), detail::SharedPart{block.share(), part});
  }
  // Waits for room, then copies as many as fit. `bytes` is not empty.
  auto write_some(std::span<const std::byte> bytes) noexcept {
    return detail::TcpCall<runtime::Result<std::size_t>, detail::WriteSome,
                           std::span<const std::byte>>(state(), bytes);
  }
  // The same without waiting: 0 if nothing fits, others wait to write, or the stream has ended.
  std::size_t try_write(std::span<const std::byte> bytes) noexcept;
  // Bytes that wait to be sent, or are on their way to the kernel.
  std::size_t queued_bytes() const noexcept {
    return state().stream != nullptr ? state_->stream->queued_bytes() : 0;
  }

  // --- Ends

  // Half-closes: the peer reads everything, then the end; this side reads on. Writers that wait end
  // with `closed`.
  void shutdown_send() noexcept;
  // Every wait on this stream ends with `timed_out` once `after` has passed (up to a quarter of a
  // second later, or as late as Stream::look_again() says), and so does every later one that would
  // wait. 0: no deadline, also after it has passed.
  void set_deadline(runtime::Duration after) noexcept;
  // Sends what is queued (at most Stream::kFlushDeadline or `linger`, the longer of the two) and
  // FIN, then waits for the peer's end, at most `linger`, discarding input, and until the
  // descriptor is closed. Cancelled: it goes on in the background. Error: not everything was sent,
  // and why (timed_out, or the errno that ended the connection). A peer that keeps its side open is
  // no error.
  runtime::Task<runtime::Result<void>> close(runtime::Duration linger = kLinger);
  // Drops what is queued; the peer may see a reset. Waits on this stream end with `closed` later in
  // this turn or in the next ones, and so do later ones, once the input is read. Nothing after
  // close().
  void abort() noexcept;

  // --- Addresses
  // Nothing for Unix streams, and when the stream has ended.
  runtime::Task<std::optional<runtime::Address>> peer_address();
  // The stream below, for what this interface lacks; null when it has ended.
  Stream* stream() noexcept { return state_ != nullptr ? state_->stream : nullptr; }

 private:
  friend class TcpListener;
  explicit TcpStream(std::unique_ptr<detail::TcpState> state) noexcept : state_(std::move(state)) {}
  detail::TcpState& state() const noexcept {
    RT_ASSERT(state_ != nullptr);  // closed, or moved away
    return *state_;
  }
  void let_go(runtime::Duration linger) noexcept;

  std::unique_ptr<detail::TcpState> state_;
};

// Moves bytes from `from` to `to` until end of file, without copying where buffers allow, then
// half-closes `to`. The slower of the two sets the pace. Returns how many bytes. Error: the first
// of either; what was read and could not be written is lost then. Two of them, one each way, make a
// proxy.
runtime::Task<runtime::Result<std::uint64_t>> splice(TcpStream& from, TcpStream& to);

class TcpListener {
 public:
  // Listens, and accepts into a queue of at most kAcceptedMax and Network::kAccepts streams;
  // further connections wait in the backlog. Errors: errnos of socket(2), bind(2), listen(2):
  // EADDRINUSE if the address is taken, unless both ask for ListenOptions::reuse_port, as listeners
  // of several cores do.
  static runtime::Result<TcpListener> listen(const runtime::Address& address,
                                             const runtime::ListenOptions& options = {});
  static constexpr std::size_t kAcceptedMax = 64;

  TcpListener(TcpListener&&) noexcept;
  // One that was moved away may only be assigned to, or destroyed.
  TcpListener& operator=(TcpListener&& other) noexcept;
  // Closes in the background, as close() does.
  ~TcpListener();

  // The next connection. Several coroutines may wait. Errors: cancelled; closed (close(), or the
  // network stopped listening).
  runtime::Task<runtime::Result<TcpStream>> accept();
  // Where it listens, with the port that it has.
  runtime::Result<runtime::Address> address() const;
  // Stops; streams that were not taken are aborted. The address is free when it returns. Waits of
  // accept() end with `closed`.
  runtime::Task<void> close();

 private:
  struct State;
  class Call;
  explicit TcpListener(std::unique_ptr<State> state) noexcept;
  void let_go() noexcept;

  std::unique_ptr<State> state_;
};

// Accepts until the listener is closed or this task is cancelled, and runs handler(stream,
// arguments...) for each connection; then cancels those that still run, and waits for their end.
// Error: the one that ended accepting, closed or cancelled. `name` is a literal.
template <class... Parameters, class... Arguments>
runtime::Task<runtime::Error> serve(TcpListener& listener, const char* name,
                                    runtime::Task<void> (*handler)(TcpStream, Parameters...),
                                    Arguments... arguments) {
  runtime::TaskGroup group(name);
  for (;;) {
    auto stream = co_await listener.accept();
    if (!stream) {
      group.cancel();
      co_await group.join();
      co_return stream.error();
    }
    group.spawn(name, handler, std::move(*stream), arguments...);
  }
}

// Streams and listeners of Unix sockets are the same: Address::parse("unix:/run/name").
using UnixStream = TcpStream;
using UnixListener = TcpListener;

}  // namespace corelane::net
