// The opcodes of publish/subscribe: from a request to the operation, and from its completion to the
// reply.

#include <fmt/format.h>

#include "services/dispatch/dispatch.hpp"
#include "services/pubsub/pubsub.hpp"
#include "services/reply/reply.hpp"

namespace corelane::services {

using protocol::ErrorCode;
using protocol::MessageView;
using protocol::Opcode;

namespace {

void serve_subscribe(Dispatch& dispatch, Session& session, const MessageView& message) {
  const auto* request = dispatch.payload_of<protocol::fbs::SubscribeRequest>(session, message);
  if (request == nullptr) return;
  PubSub::local().subscribe(session, dispatch.names_of(*request->channels()),
                            ReplyTo::session(session, message.transaction_id, true));
}

void serve_unsubscribe(Dispatch& dispatch, Session& session, const MessageView& message) {
  const auto* request = dispatch.payload_of<protocol::fbs::UnsubscribeRequest>(session, message);
  if (request == nullptr) return;
  PubSub::local().unsubscribe(session, dispatch.names_of(*request->channels()),
                              ReplyTo::session(session, message.transaction_id, true));
}

void serve_publish(Dispatch& dispatch, Session& session, const MessageView& message) {
  protocol::PublishRequest request;
  if (!dispatch.read(session, message, request)) return;
  const Publication what{.channel = request.channel,
                         .data = request.data,
                         .publisher = session.uuid(),
                         .trace_id = message.trace_id,
                         .span_id = message.span_id};
  const protocol::EventBody event{
      .channel = what.channel, .data = what.data, .publisher = what.publisher};
  if (!dispatch.can_be_sent(session, message, protocol::frame_bytes(passed_on(message), event))) {
    return;
  }
  PubSub::local().publish(what,
                          ReplyTo::session(session, message.transaction_id, request.requires_ack));
}

constexpr OpcodeRow kRows[] = {
    {.opcode = Opcode::ClientSubscribe,
     .name = "ClientSubscribe",
     .request = "SubscribeRequest",
     .right = Right::subscribe,
     .cost = CostClass::memory,
     .serve = serve_subscribe},
    {.opcode = Opcode::ClientUnsubscribe,
     .name = "ClientUnsubscribe",
     .request = "UnsubscribeRequest",
     .right = Right::none,
     .cost = CostClass::light,
     .serve = serve_unsubscribe},
    {.opcode = Opcode::Publish,
     .name = "Publish",
     .request = "PublishRequest",
     .right = Right::publish,
     .cost = CostClass::memory,
     .serve = serve_publish},
};

void refuse_publish(Session& session, const protocol::Uuid& transaction_id, ErrorCode code) {
  const PubSubOptions& options = PubSub::local().options();
  if (code == ErrorCode::channel_name_invalid) {
    session.send_error(
        transaction_id, Opcode::Publish, code,
        fmt::format("a channel name has 1 to {} bytes (limits.channel_name_bytes_max) of "
                    "UTF-8 without control characters",
                    options.channel_name_bytes_max));
  } else {
    session.send_error(transaction_id, Opcode::Publish, code,
                       fmt::format("the channel's core has limits.channels_max ({}) channels",
                                   options.channels_max),
                       PubSub::kRetryAfterMs);
  }
}

// An epoch has 64 bits, more than the numbers of many readers of JSON: it is a string.
std::string json_of(const SubscriptionsChanged& done) {
  std::string json = "[";
  for (const protocol::fbs::ChannelResult& result : done.results) {
    json +=
        fmt::format(R"({}{{"epoch":"{}","offset":{},"error":"{}"}})", json.size() == 1 ? "" : ",",
                    result.epoch(), result.offset(), protocol::error_code_name(result.code()));
  }
  return json + "]";
}

}  // namespace

std::span<const OpcodeRow> PubSub::opcodes() noexcept {
  return kRows;
}

void complete(const ReplyTo& to, const Published& done) noexcept {
  complete_as(
      to, done,
      [&](Session& session) {
        if (done.code != ErrorCode::none)
          return refuse_publish(session, to.transaction_id, done.code);
        session.reply(to.transaction_id,
                      protocol::AckBody{
                          .epoch = done.epoch, .offset = done.offset, .delivered = done.delivered});
      },
      [&]() -> HttpAnswer {
        return {.code = done.code,
                .json = fmt::format(R"({{"epoch":"{}","offset":{},"delivered":{}}})", done.epoch,
                                    done.offset, done.delivered)};
      });
}

void complete(const ReplyTo& to, SubscriptionsChanged&& done) noexcept {
  complete_as(
      to, std::move(done),
      [&](Session& session) {
        if (done.unsubscribed) {
          session.reply(to.transaction_id, protocol::UnsubscribeReplyBody{.results = done.results});
        } else {
          session.reply(to.transaction_id, protocol::SubscribeReplyBody{.results = done.results});
        }
      },
      [&]() -> HttpAnswer { return {.json = json_of(done)}; });
}

}  // namespace corelane::services
