#include "perf/load/opener.hpp"

#include <netinet/in.h>

#include <array>
#include <cerrno>
#include <span>
#include <string>

#include "net/http/response_parser.hpp"
#include "runtime/await.hpp"
#include "runtime/core.hpp"
#include "runtime/wait_queue.hpp"
#include "ws/frame.hpp"
#include "ws/handshake.hpp"

namespace corelane::perf {
namespace {

using runtime::Error;
using runtime::ErrorCode;
using runtime::Result;

constexpr runtime::Nanoseconds kHandshakeTimeout = 10 * runtime::kSecond;

// The kernel gives connections even ports as long as there are any, and searches all of them in
// vain when there are none: beyond 14,000 from one address a connection took 2 ms instead of 30 µs
// (Linux 6.18). So every second one asks for an odd port, from the range that is the default.
constexpr std::uint32_t kOddPortFirst = 32'769;
constexpr std::uint32_t kOddPorts = 14'116;
constexpr int kOddPortTries = 64;  // then the kernel chooses

// 127.0.0.1 and those that follow it. Port 0: the kernel chooses one.
runtime::Address source_address(std::uint32_t number, std::uint32_t port) noexcept {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + number);
  return runtime::Address::from_raw(reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

}  // namespace

// Owns the stream until the answer is there. Lives in the frame of open().
struct Opener::Handshake {
  const net::StreamHandler& next;
  void* next_owner;
  ws::ClientHandshake request;
  net::http::ResponseParser parser{};
  Error error{};
  bool opened = false;
  bool done = false;
  runtime::WaitQueue waiting{};

  static Handshake& of(net::Stream& stream) { return *static_cast<Handshake*>(stream.owner()); }

  void finish() noexcept {
    done = true;
    waiting.wake_all(runtime::WaitQueue::Outcome::granted);
  }
  void read_answer(net::Stream& stream, const net::Received& received) noexcept {
    using Event = net::http::ResponseParser::Event;
    const auto progress = parser.feed(received.bytes);
    if (progress.event == Event::need_more) return;
    if (progress.event == Event::error) return stream.abort({ErrorCode::closed, 0});
    const int status = static_cast<int>(parser.response().status);
    const auto upgrade = ws::check_upgrade_response(status, parser.response().fields, request);
    if (!upgrade || upgrade->deflate.has_value() != request.deflate.is_enabled) {
      return stream.abort({ErrorCode::closed, status});
    }
    opened = true;
    stream.cancel_timer();
    stream.set_handler(next, next_owner);
    const net::Received rest{.bytes = received.bytes.subspan(progress.consumed),
                             .buffer = received.buffer};
    finish();
    if (!rest.bytes.empty()) stream.redeliver(rest);
  }

  static void on_data(net::Stream& stream, const net::Received& received) noexcept {
    of(stream).read_answer(stream, received);
  }
  static void on_end(net::Stream& stream) noexcept { stream.abort({ErrorCode::closed, 0}); }
  static void on_closed(net::Stream& stream, Error why) noexcept {
    Handshake& self = of(stream);
    self.error = why;
    self.finish();
  }
  static void on_timer(net::Stream& stream) noexcept { stream.abort({ErrorCode::timed_out, 0}); }
  static constexpr net::StreamHandler kHandler{"opening", on_data,  on_end,
                                               on_closed, on_timer, nullptr};
};

runtime::Task<Result<net::StreamId>> Opener::connect(const net::StreamHandler& handler,
                                                     void* owner) {
  const runtime::Nanoseconds now = network_.core().now();
  if (begun_ == 0) first_at_ = now;
  const std::uint32_t number = begun_++;
  if (settings_.ramp_per_second > 0) {
    const auto due =
        first_at_ + static_cast<runtime::Nanoseconds>(number * 1e9 / settings_.ramp_per_second);
    if (due > now) co_await runtime::sleep_until(due);
  }
  if (settings_.source_addresses == 0) {
    co_return co_await network_.connect(settings_.target.address, handler, owner);
  }
  const std::uint32_t source = settings_.first_source + number % settings_.source_addresses;
  const bool wants_odd = number / settings_.source_addresses % 2 == 1;
  for (int tries = wants_odd ? kOddPortTries : 0; tries > 0; --tries) {
    const auto odd = static_cast<std::uint32_t>(network_.core().random().next() % kOddPorts);
    const runtime::Address address = source_address(source, kOddPortFirst + 2 * odd);
    auto stream = co_await network_.connect(settings_.target.address, handler, owner, &address);
    const bool is_taken = !stream && (stream.error() == Error::from_errno(EADDRINUSE) ||
                                      stream.error() == Error::from_errno(EADDRNOTAVAIL));
    if (!is_taken) co_return stream;
  }
  const runtime::Address address = source_address(source, 0);
  co_return co_await network_.connect(settings_.target.address, handler, owner, &address);
}

runtime::Task<Result<net::StreamId>> Opener::open(const net::StreamHandler& handler, void* owner,
                                                  std::string_view path) {
  const Target& target = settings_.target;
  if (target.scheme != Scheme::ws) co_return co_await connect(handler, owner);
  Handshake handshake{.next = handler,
                      .next_owner = owner,
                      .request = {.host = target.host,
                                  .target = path.empty() ? target.path : path,
                                  .origin = {},
                                  .subprotocols = {},
                                  .extra_fields = {},
                                  .deflate = {.is_enabled = settings_.compressed,
                                              .server_no_context_takeover = true,
                                              .client_no_context_takeover = true},
                                  .nonce = {}}};
  network_.core().random().fill(handshake.request.nonce);
  const auto id = co_await connect(Handshake::kHandler, &handshake);
  if (!id) co_return runtime::Unexpected{id.error()};
  std::string request;
  ws::write_upgrade_request(request, handshake.request);
  // A stream that has ended by now was ours already: on_closed has reported its end.
  if (net::Stream* stream = network_.find(*id); stream != nullptr) {
    stream->set_timer(kHandshakeTimeout);
    stream->send_last(std::as_bytes(std::span{request}));
  }
  while (!handshake.done) {
    // Not cancelled: the stream refers to this frame until it is opened or gone.
    runtime::WaitQueue::Waiter waiter{handshake.waiting, runtime::WaitQueue::OnCancel::ignore};
    co_await waiter;
  }
  if (!handshake.opened) co_return runtime::Unexpected{handshake.error};
  co_return *id;
}

void send_pong(net::Stream& stream, std::span<const std::byte> payload) {
  constexpr ws::MaskKey kNoMask{};
  std::array<std::byte, ws::kClientHeaderBytesMax + ws::kControlPayloadBytesMax> frame{};
  const std::size_t header =
      ws::write_client_header(frame.data(), {.opcode = ws::Opcode::pong}, payload.size(), kNoMask);
  ws::copy_masked(payload, frame.data() + header, kNoMask);
  stream.send_control(net::ControlKind::pong, std::span{frame}.first(header + payload.size()));
}

}  // namespace corelane::perf
