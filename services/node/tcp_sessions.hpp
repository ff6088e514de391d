#pragma once
// The opcode protocol over plain TCP and Unix streams: the same frames without WebSocket around
// them. One a core. A stream's unfinished frame is gathered here; whole frames are served where
// they lie.

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "net/network.hpp"
#include "runtime/accounted_size.hpp"
#include "runtime/slab.hpp"
#include "services/sessions/sessions.hpp"

namespace corelane::services {

struct TcpOptions {
  runtime::Nanoseconds message_deadline = 30 * runtime::kSecond;  // for an unfinished frame
  // Time for the peer's FIN after ours, and for outstanding answers after the peer's FIN.
  runtime::Nanoseconds close_timeout = 5 * runtime::kSecond;
  // Streams of the network; a new connection beyond it gets Error overloaded, and is closed.
  std::uint32_t streams_max = UINT32_MAX;
};

class TcpSessions {
 public:
  explicit TcpSessions(const TcpOptions& options)
      : options_(options), clients_(options.streams_max) {}
  TcpSessions(const TcpSessions&) = delete;
  TcpSessions& operator=(const TcpSessions&) = delete;

  // Of sessions that begin from now on; it lives as long as this.
  void set_log(ConnectionLog& log) noexcept { log_ = &log; }
  // For Network::listen; the context is the TcpSessions. One for TCP, one for Unix streams.
  static bool accept(void* context, net::Stream& stream) noexcept;
  static bool accept_unix(void* context, net::Stream& stream) noexcept;
  // A frame of it has begun to come. False for sessions on WebSocket.
  static bool is_unfinished(Session& session) noexcept;

 private:
  struct Client {
    explicit Client(TcpSessions& of) noexcept : table(of) {}

    TcpSessions& table;
    Session* session = nullptr;
    std::uint32_t slot = 0;
    std::vector<std::byte> gathered;                             // the beginning of a frame
    runtime::AccountedSize<runtime::MemoryKind::messages> held;  // `gathered`
    std::size_t needed = 0;  // bytes of that frame, as far as known
    bool is_ended = false;   // the peer sends nothing more; it waits for its answers
    bool looked = false;     // the deadline seems to be missed: net::Stream::look_again()
  };

  static void on_data(net::Stream& stream, const net::Received& received) noexcept;
  static void on_end(net::Stream& stream) noexcept;
  static void on_closed(net::Stream& stream, runtime::Error why) noexcept;
  static void on_timer(net::Stream& stream) noexcept;
  static void on_writable(net::Stream& stream) noexcept;
  static void on_memory_short(net::Stream& stream, std::string_view why) noexcept;
  static void add_held(const net::Stream& stream, net::HeldMemory& held) noexcept;
  static const net::StreamHandler kHandler;
  static const net::StreamHandler kRefusedHandler;

  bool open(net::Stream& stream, protocol::Transport transport);
  void refuse(net::Stream& stream, std::string_view why) noexcept;
  static void weigh(Client& client) noexcept;
  void consume(Client& client, std::span<const std::byte> bytes);
  std::span<const std::byte> finish_frame(Client& client, std::span<const std::byte> bytes);
  bool give_up(Client& client, bool is_lost) noexcept;

  TcpOptions options_;
  ConnectionLog* log_ = nullptr;
  runtime::Slab<Client> clients_;
};

}  // namespace corelane::services
