// The opcodes Send and Broadcast: from a request to the operation, and from its completion to the
// reply.

#include <fmt/format.h>

#include "services/dispatch/dispatch.hpp"
#include "services/reply/reply.hpp"
#include "services/sessions/sessions.hpp"

namespace corelane::services {

using protocol::ErrorCode;
using protocol::MessageView;
using protocol::Opcode;

namespace {

void serve_send(Dispatch& dispatch, Session& session, const MessageView& message) {
  protocol::SendRequest request;
  if (!dispatch.read(session, message, request)) return;
  const DirectSend what{.to = request.session,
                        .data = request.data,
                        .from = session.uuid(),
                        .trace_id = message.trace_id,
                        .span_id = message.span_id};
  const protocol::DirectMessageBody direct{.from = what.from, .data = what.data};
  if (!dispatch.can_be_sent(session, message, protocol::frame_bytes(passed_on(message), direct))) {
    return;
  }
  Sessions::local().send(what,
                         ReplyTo::session(session, message.transaction_id, request.requires_ack));
}

void serve_broadcast(Dispatch& dispatch, Session& session, const MessageView& message) {
  protocol::BroadcastRequest request;
  if (!dispatch.read(session, message, request)) return;
  const BroadcastSend what{.data = request.data,
                           .from = session.uuid(),
                           .trace_id = message.trace_id,
                           .span_id = message.span_id,
                           .except = request.include_self ? SessionId{} : session.id()};
  const protocol::BroadcastMessageBody all{.from = what.from, .data = what.data};
  if (!dispatch.can_be_sent(session, message, protocol::frame_bytes(passed_on(message), all))) {
    return;
  }
  Sessions::local().broadcast(
      what, ReplyTo::session(session, message.transaction_id, request.requires_ack));
}

constexpr OpcodeRow kRows[] = {
    {.opcode = Opcode::Send,
     .name = "Send",
     .request = "SendRequest",
     .right = Right::send,
     .cost = CostClass::memory,
     .serve = serve_send},
    {.opcode = Opcode::Broadcast,
     .name = "Broadcast",
     .request = "BroadcastRequest",
     .right = Right::broadcast,
     .cost = CostClass::memory,
     .serve = serve_broadcast},
};

}  // namespace

std::span<const OpcodeRow> Sessions::opcodes() noexcept {
  return kRows;
}

void complete(const ReplyTo& to, const Sent& done) noexcept {
  complete_as(
      to, done,
      [&](Session& session) {
        if (done.code != ErrorCode::none) {
          session.send_error(to.transaction_id, Opcode::Send, done.code, "no session has this id");
        } else {
          session.reply(to.transaction_id, protocol::AckBody{.delivered = 1});
        }
      },
      [&]() -> HttpAnswer { return {.code = done.code, .json = R"({"delivered":1})"}; });
}

void complete(const ReplyTo& to, const BroadcastDone& done) noexcept {
  complete_as(
      to, done,
      [&](Session& session) {
        session.reply(to.transaction_id, protocol::AckBody{.delivered = done.delivered});
      },
      [&]() -> HttpAnswer {
        return {.json = fmt::format(R"({{"delivered":{}}})", done.delivered)};
      });
}

}  // namespace corelane::services
