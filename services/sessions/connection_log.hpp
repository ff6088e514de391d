#pragma once
// The connection log (log.connections): one line for each session of the opcode protocol, when it
// has ended:
//
//   connection closed address=203.0.113.7:50312 transport=websocket path=/ws session=... core=1
//   duration_ms=60012 received_bytes=4711 sent_bytes=52000 code=1000 reason="..."
//
// Bytes are those of the protocol's frames. Path and reason are what the peer sent; queries, which
// may hold tokens, are left out. A path is cut after 256 bytes. The address is read when the
// session begins, and missing for one that ends within a turn or two.

#include <cstdint>
#include <string>
#include <string_view>

#include "protocol/opcode.hpp"
#include "runtime/task.hpp"
#include "runtime/task_group.hpp"
#include "runtime/types.hpp"
#include "services/sessions/session.hpp"

namespace corelane::services {

struct ConnectionRecord {
  runtime::Nanoseconds begin = 0;
  std::string address{};
  std::string path{};
  protocol::ErrorCode end = protocol::ErrorCode::none;  // TCP: of the server's last Error
};

// One a core.
class ConnectionLog {
 public:
  static constexpr std::size_t kPathBytesMax = 256;

  ConnectionLog() noexcept : lookups_("connection log") {}
  // `path` of the handshake; empty: none.
  void begin(Session& session, std::string_view path);
  // Bytes of its frames have come.
  static void note_received(Session& session, std::size_t bytes) noexcept {
    if (SessionExtension* extension = session.extension()) extension->received_bytes += bytes;
  }
  // Writes the line of a session that is logged. `code` is a WebSocket's.
  static void end(Session& session, std::uint16_t code, std::string_view reason);
  runtime::Task<void> stop();

 private:
  static runtime::Task<void> look_up(SessionId id);

  runtime::TaskGroup lookups_;
};

}  // namespace corelane::services
