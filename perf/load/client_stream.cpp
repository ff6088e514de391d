#include "perf/load/client_stream.hpp"

#include <array>
#include <span>
#include <string>

#include "net/http/response_parser.hpp"
#include "runtime/core.hpp"
#include "runtime/wait_queue.hpp"
#include "ws/frame.hpp"
#include "ws/handshake.hpp"

namespace perf {
namespace {

using runtime::Error;
using runtime::ErrorCode;
using runtime::Result;

constexpr runtime::Nanoseconds kHandshakeTimeout = 10 * runtime::kSecond;

// Owns the stream until the answer is there. Lives in the frame of open_websocket().
struct Opening {
  const net::StreamHandler& next;
  void* next_owner;
  ws::ClientHandshake handshake;
  net::http::ResponseParser parser{};
  Error error{};
  bool opened = false;
  bool done = false;
  runtime::WaitQueue waiting{};

  static Opening& of(net::Stream& stream) { return *static_cast<Opening*>(stream.owner()); }

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
    if (!ws::check_upgrade_response(status, parser.response().fields, handshake)) {
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
    Opening& self = of(stream);
    self.error = why;
    self.finish();
  }
  static void on_timer(net::Stream& stream) noexcept { stream.abort({ErrorCode::timed_out, 0}); }
  static constexpr net::StreamHandler kHandler{"opening", on_data,  on_end,
                                               on_closed, on_timer, nullptr};
};

runtime::Task<Result<net::StreamId>> open_websocket(net::Network& network, const Target& target,
                                                    const net::StreamHandler& handler,
                                                    void* owner) {
  Opening opening{.next = handler,
                  .next_owner = owner,
                  .handshake = {.host = target.host,
                                .target = target.path,
                                .origin = {},
                                .subprotocols = {},
                                .extra_fields = {},
                                .deflate = {},
                                .nonce = {}}};
  network.core().random().fill(opening.handshake.nonce);
  const auto id = co_await network.connect(target.address, Opening::kHandler, &opening);
  if (!id) co_return runtime::Unexpected{id.error()};
  std::string request;
  ws::write_upgrade_request(request, opening.handshake);
  net::Stream& stream = *network.find(*id);
  stream.set_timer(kHandshakeTimeout);
  stream.send_last(std::as_bytes(std::span{request}));
  while (!opening.done) {
    // Not cancelled: the stream refers to this frame until it is opened or gone.
    runtime::WaitQueue::Waiter waiter{opening.waiting, runtime::WaitQueue::OnCancel::ignore};
    co_await waiter;
  }
  if (!opening.opened) co_return runtime::Unexpected{opening.error};
  co_return *id;
}

}  // namespace

runtime::Task<Result<net::StreamId>> open_stream(net::Network& network, const Target& target,
                                                 const net::StreamHandler& handler, void* owner) {
  if (target.scheme == Scheme::tcp) {
    co_return co_await network.connect(target.address, handler, owner);
  }
  co_return co_await open_websocket(network, target, handler, owner);
}

void send_pong(net::Stream& stream, std::span<const std::byte> payload) {
  constexpr ws::MaskKey kNoMask{};
  std::array<std::byte, ws::kClientHeaderBytesMax + ws::kControlPayloadBytesMax> frame{};
  const std::size_t header =
      ws::write_client_header(frame.data(), {.opcode = ws::Opcode::pong}, payload.size(), kNoMask);
  ws::copy_masked(payload, frame.data() + header, kNoMask);
  stream.send_control(net::ControlKind::pong, std::span{frame}.first(header + payload.size()));
}

}  // namespace perf
