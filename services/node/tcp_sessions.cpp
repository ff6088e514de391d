#include "services/node/tcp_sessions.hpp"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "net/http/server.hpp"
#include "runtime/accounted_allocator.hpp"
#include "services/dispatch/dispatch.hpp"
#include "services/sessions/sessions.hpp"

namespace corelane::services {
namespace {

constexpr std::size_t kGatheredBytesKept = 4096;
constexpr std::uint32_t kRetryAfterMs = 1000;  // for clients that find no room

}  // namespace

const net::StreamHandler TcpSessions::kHandler{"tcp session", on_data,         on_end,
                                               on_closed,     on_timer,        on_writable,
                                               nullptr,       on_memory_short, add_held};

const net::StreamHandler TcpSessions::kRefusedHandler{
    "tcp session, refused",       [](net::Stream&, const net::Received&) noexcept {},
    [](net::Stream&) noexcept {}, [](net::Stream&, runtime::Error) noexcept {},
    [](net::Stream&) noexcept {}, nullptr};

bool TcpSessions::accept(void* context, net::Stream& stream) noexcept {
  return static_cast<TcpSessions*>(context)->open(stream, protocol::Transport::tcp);
}

bool TcpSessions::accept_unix(void* context, net::Stream& stream) noexcept {
  return static_cast<TcpSessions*>(context)->open(stream, protocol::Transport::unix_stream);
}

bool TcpSessions::open(net::Stream& stream, protocol::Transport transport) {
  const runtime::MemoryAccount& memory = runtime::Core::current().memory();
  if (stream.network().stream_count() > options_.streams_max) {
    refuse(stream, "the server has as many connections as it may have");
    return true;
  }
  if (memory.reached(runtime::MemoryPressure::no_sessions)) {
    refuse(stream, "limits.memory_bytes_max is nearly reached");
    return true;
  }
  const auto made = clients_.emplace(*this);
  if (made.value == nullptr) return false;
  made.value->slot = made.id.slot;
  made.value->session = Sessions::local().open(stream, transport);
  stream.set_handler(kHandler, made.value);
  if (made.value->session == nullptr) return false;
  if (log_ != nullptr) log_->begin(*made.value->session, {});
  return true;
}

void TcpSessions::refuse(net::Stream& stream, std::string_view why) noexcept {
  stream.set_handler(kRefusedHandler, nullptr);
  const protocol::ErrorBody body{.code = protocol::ErrorCode::overloaded,
                                 .text = why,
                                 .failed_opcode = protocol::Opcode::None,
                                 .retry_after_ms = kRetryAfterMs};
  std::byte frame[256];
  const std::size_t bytes =
      protocol::write_frame(frame, {.timestamp = runtime::Core::current().wall_now()}, body);
  RT_ASSERT(bytes > 0);
  log_error(stream, body.code, body.text);
  stream.send_last(std::span{frame}.first(bytes));
  // Not for long: while it waits for the peer's end it takes a place.
  stream.close(std::min(options_.close_timeout, net::http::Server::kDrainLinger));
}

bool TcpSessions::is_unfinished(Session& session) noexcept {
  if (session.transport() == protocol::Transport::websocket) return false;
  return !static_cast<const Client*>(session.stream().owner())->gathered.empty();
}

void TcpSessions::on_data(net::Stream& stream, const net::Received& received) noexcept {
  auto& client = *static_cast<Client*>(stream.owner());
  if (client.table.log_ != nullptr) {
    ConnectionLog::note_received(*client.session, received.bytes.size());
  }
  client.table.consume(client, received.bytes);
  if (!stream.writable()) stream.pause_receiving();
}

void TcpSessions::consume(Client& client, std::span<const std::byte> bytes) {
  Dispatch& dispatch = Dispatch::local();
  net::Stream& stream = client.session->stream();
  // At most two rounds more than there are unfinished frames: the size, then the rest.
  while (!client.gathered.empty() && !bytes.empty()) {
    bytes = finish_frame(client, bytes);
    const auto progress = dispatch.on_stream(*client.session, client.gathered);
    if (give_up(client, progress.lost)) return;
    client.needed = progress.needed;
    if (progress.consumed > 0) {
      RT_ASSERT(progress.consumed == client.gathered.size());
      client.gathered.clear();
      // An idle session keeps no memory of its largest frame.
      if (client.gathered.capacity() > kGatheredBytesKept) client.gathered.shrink_to_fit();
      stream.cancel_timer();
    }
    weigh(client);
  }
  if (bytes.empty()) return;
  const auto progress = dispatch.on_stream(*client.session, bytes);
  if (give_up(client, progress.lost)) return;
  const auto rest = bytes.subspan(progress.consumed);
  if (rest.empty()) return;
  client.gathered.assign(rest.begin(), rest.end());
  weigh(client);
  client.needed = progress.needed;
  client.looked = false;
  stream.set_timer(options_.message_deadline);
}

// Moves what the unfinished frame lacks, as far as it has come, and returns what is behind it.
std::span<const std::byte> TcpSessions::finish_frame(Client& client,
                                                     std::span<const std::byte> bytes) {
  RT_ASSERT(client.needed > client.gathered.size());
  const std::size_t take = std::min(bytes.size(), client.needed - client.gathered.size());
  client.gathered.insert(client.gathered.end(), bytes.begin(),
                         bytes.begin() + static_cast<std::ptrdiff_t>(take));
  return bytes.subspan(take);
}

// Called after each change of the memory of the unfinished frame. Memory that a session keeps after
// a served frame is not unfinished.
void TcpSessions::weigh(Client& client) noexcept {
  const std::size_t bytes = client.gathered.capacity();
  client.held.set(bytes, client.gathered.empty() ? 0 : bytes);
}

void TcpSessions::add_held(const net::Stream& stream, net::HeldMemory& held) noexcept {
  const auto& client = *static_cast<const Client*>(stream.owner());
  const std::size_t unfinished = client.held.unfinished();
  held.add_unfinished(unfinished, client.held.booked_at());
  held.add(client.held.bytes() - unfinished);
}

void TcpSessions::on_memory_short(net::Stream& stream, std::string_view why) noexcept {
  auto& client = *static_cast<Client*>(stream.owner());
  client.session->end_at_once(protocol::ErrorCode::overloaded, why);
  runtime::release_memory(client.gathered);
  weigh(client);
}

// True: the session is closing, or its input cannot be read any more (`is_lost`), so nothing more
// of it is served.
bool TcpSessions::give_up(Client& client, bool is_lost) noexcept {
  net::Stream& stream = client.session->stream();
  if (!is_lost && !stream.closing()) return false;
  runtime::release_memory(client.gathered);
  weigh(client);
  if (is_lost) stream.close(options_.close_timeout);
  return true;
}

// The client may have shut down its direction behind its last request and wait for the answers.
void TcpSessions::on_end(net::Stream& stream) noexcept {
  auto& client = *static_cast<Client*>(stream.owner());
  client.is_ended = true;
  stream.set_timer(client.table.options_.close_timeout);
  Sessions::local().end(*client.session);
}

void TcpSessions::on_writable(net::Stream& stream) noexcept {
  auto& client = *static_cast<Client*>(stream.owner());
  if (!stream.receiving_paused() || client.session->is_held()) return;
  stream.resume_receiving();
  // The rest of an unfinished frame could not come: its time begins again.
  if (client.gathered.empty()) return;
  client.looked = false;
  stream.set_timer(client.table.options_.message_deadline);
}

void TcpSessions::on_timer(net::Stream& stream) noexcept {
  auto& client = *static_cast<Client*>(stream.owner());
  if (client.is_ended) return stream.close(0);  // what is not there by now is not waited for
  if (client.session->is_held() || client.session->take_was_held()) {
    // The rest of an unfinished frame could not come: its time begins again.
    client.looked = false;
    return stream.set_timer(client.table.options_.message_deadline);
  }
  if (stream.receiving_paused()) return;  // see on_writable()
  if (stream.look_again(std::exchange(client.looked, true))) return;
  client.session->send_error(
      {}, protocol::Opcode::None, protocol::ErrorCode::timed_out,
      fmt::format("frame unfinished after limits.message_deadline ({}s)",
                  static_cast<double>(client.table.options_.message_deadline) / runtime::kSecond));
  stream.close(client.table.options_.close_timeout);
}

void TcpSessions::on_closed(net::Stream& stream, runtime::Error) noexcept {
  auto& client = *static_cast<Client*>(stream.owner());
  if (client.session != nullptr) {
    Traffic::local().count_end(protocol::ErrorCode::none);
    ConnectionLog::end(*client.session, 0, {});
    Sessions::local().erase(*client.session);
  }
  client.table.clients_.erase(client.slot);
}

}  // namespace corelane::services
