// The opcodes that no service has: WhoAmI and Ping.

#include <string>

#include "services/dispatch/dispatch.hpp"
#include "services/sessions/sessions.hpp"

namespace corelane::services {

using protocol::MessageView;
using protocol::Opcode;
using runtime::Core;

namespace {

// However little memory is left: a client's look whether the server is there.
constexpr std::size_t kPongBytesAlways = 1024;

void reply_who_am_i(const DispatchOptions& options, Session& session,
                    const protocol::Uuid& transaction_id, std::string_view address) {
  session.reply(
      transaction_id,
      protocol::WhoAmIReplyBody{
          .session = session.uuid(),
          .core = session.id().core,
          .transport = session.transport(),
          .remote_address = address,
          .node = options.node_name,
          .server_version = options.server_version,
          .frame_bytes_max = static_cast<std::uint32_t>(options.frame_bytes_max),
          .subscriptions_max = static_cast<std::uint32_t>(options.subscriptions_per_session_max)});
}

runtime::Task<void> look_up_and_reply(const DispatchOptions* options, SessionId id,
                                      protocol::Uuid transaction_id) {
  const std::string address = co_await Sessions::peer_address(id);
  Session* session = Sessions::local().find(id);
  if (session == nullptr) co_return;
  reply_who_am_i(*options, *session, transaction_id, address);
  session->answered();
}

void serve_who_am_i(Dispatch& dispatch, Session& session, const MessageView& message) {
  if (dispatch.payload_of<protocol::fbs::WhoAmIRequest>(session, message) == nullptr) return;
  const DispatchOptions& options = dispatch.options();
  // A flood of these must leave room for handlers: the reply goes without the address then.
  session.expect_answer();
  if (dispatch.spawn("WhoAmI", look_up_and_reply, &options, session.id(), message.transaction_id)) {
    return;
  }
  reply_who_am_i(options, session, message.transaction_id, "");
  session.answered();
}

void serve_ping(Dispatch& dispatch, Session& session, const MessageView& message) {
  protocol::PingRequest request;
  if (!dispatch.read(session, message, request)) return;
  const protocol::MessageHeader header{.transaction_id = message.transaction_id,
                                       .timestamp = Core::current().wall_now()};
  const protocol::PongBody pong{.data = request.data, .server_time = header.timestamp};
  const std::size_t bytes = protocol::frame_bytes(header, pong);
  if (bytes > kPongBytesAlways && !dispatch.has_memory(session, message)) return;
  if (dispatch.can_be_sent(session, message, bytes)) session.send(header, pong, bytes);
}

constexpr OpcodeRow kRows[] = {
    {.opcode = Opcode::WhoAmI,
     .name = "WhoAmI",
     .request = "WhoAmIRequest",
     .right = Right::none,
     .cost = CostClass::control,
     .serve = serve_who_am_i},
    {.opcode = Opcode::Ping,
     .name = "Ping",
     .request = "PingRequest",
     .right = Right::none,
     .cost = CostClass::control,
     .serve = serve_ping},
};

}  // namespace

std::span<const OpcodeRow> Dispatch::opcodes() noexcept {
  return kRows;
}

}  // namespace corelane::services
