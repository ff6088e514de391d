#include "services/dispatch/dispatch.hpp"

#include <fmt/format.h>

#include <array>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "net/network.hpp"
#include "services/pubsub/pubsub.hpp"
#include "services/sessions/sessions.hpp"
#include "ws/frame.hpp"

namespace corelane::services {

using protocol::ErrorCode;
using protocol::FrameStatus;
using protocol::MessageView;
using protocol::Opcode;
using runtime::Core;

namespace {

constexpr std::uint32_t kRetryAfterMs = 100;  // a handler has probably ended by then

}  // namespace

// --- Handlers and requests

void HandlerTable::add(std::uint16_t opcode, CustomHandler handler) {
  if (opcode < protocol::kCustomOpcodeMin) {
    throw std::invalid_argument("custom opcodes begin at 200, not " + std::to_string(opcode));
  }
  if (!handlers_.emplace(opcode, std::move(handler)).second) {
    throw std::invalid_argument("opcode " + std::to_string(opcode) + " has a handler already");
  }
}

Session* Request::find() const noexcept {
  return Sessions::local().find(session_);
}

protocol::Uuid Request::session_uuid() const noexcept {
  const Session* session = find();
  return session != nullptr ? session->uuid() : protocol::kNilUuid;
}

bool Request::reply(std::span<const std::byte> payload) const {
  Session* session = find();
  return session != nullptr &&
         session->send(
             {.transaction_id = header_.transaction_id, .timestamp = Core::current().wall_now()},
             protocol::RawBody{.kOpcode = opcode_, .payload = payload});
}

bool Request::fail(ErrorCode code, std::string_view text, std::uint32_t retry_after_ms) const {
  Session* session = find();
  return session != nullptr &&
         session->send_error(header_.transaction_id, opcode_, code, text, retry_after_ms);
}

Request Request::copy() const {
  MessageView view;
  view.opcode = opcode_;
  view.transaction_id = header_.transaction_id;
  view.timestamp = header_.timestamp;
  view.trace_id = header_.trace_id;
  view.span_id = header_.span_id;
  Request request(session_, view);
  if (!payload_.empty()) {
    request.memory_ = std::make_unique<std::byte[]>(payload_.size());
    std::memcpy(request.memory_.get(), payload_.data(), payload_.size());
    request.payload_ = {request.memory_.get(), payload_.size()};
  }
  return request;
}

// --- Frames

Dispatch::Dispatch(DispatchOptions options, const HandlerTable& handlers)
    : options_(std::move(options)), handlers_(handlers) {
  set_local(ServiceSlot::dispatch, this);
}

Dispatch::~Dispatch() {
  set_local(ServiceSlot::dispatch, nullptr);
}

runtime::Task<void> Dispatch::stop() {
  running_.cancel();
  co_await running_.join();
}

void Dispatch::on_message(Session& session, std::span<const std::byte> message) {
  for (protocol::FrameCursor cursor(message, options_.frame_bytes_max); !cursor.at_end();) {
    const protocol::Frame frame = cursor.next();
    if (frame.status != FrameStatus::complete) {
      refuse_frame(session, frame.status);
      return;
    }
    on_frame(session, frame.message);
    // It may have been closed just now: as a slow reader, or by a handler. Nobody is there to be
    // answered, so nothing more takes effect.
    if (session.closing()) return;
  }
}

Dispatch::StreamProgress Dispatch::on_stream(Session& session, std::span<const std::byte> bytes) {
  StreamProgress progress;
  for (;;) {
    const protocol::Frame frame =
        protocol::next_frame(bytes.subspan(progress.consumed), options_.frame_bytes_max);
    if (frame.status == FrameStatus::need_more) {
      progress.needed = frame.needed;
      return progress;
    }
    if (frame.status != FrameStatus::complete) {
      refuse_frame(session, frame.status);
      progress.lost = true;
      return progress;
    }
    on_frame(session, frame.message);
    progress.consumed += frame.consumed;
    if (session.closing()) return progress;
  }
}

void Dispatch::on_frame(Session& session, std::span<const std::byte> message) {
  ++counters_.requests;
  const protocol::VerifiedMessage verified = protocol::verify_message(message);
  if (!verified.ok) {
    refuse(session, {}, ErrorCode::malformed_message, "the frame holds no valid Message");
    return;
  }
  const BuiltIn function = built_in(verified.view.opcode);
  if (function != nullptr) {
    (this->*function)(session, verified.view);
  } else {
    on_custom(session, verified.view);
  }
}

Dispatch::BuiltIn Dispatch::built_in(Opcode opcode) noexcept {
  static constexpr auto kTable = [] {
    std::array<BuiltIn, protocol::kServerOpcodeMax + 1> table{};
    const auto set = [&table](Opcode of, BuiltIn function) {
      table[protocol::number(of)] = function;
    };
    set(Opcode::WhoAmI, &Dispatch::who_am_i);
    set(Opcode::Ping, &Dispatch::ping);
    set(Opcode::ClientSubscribe, &Dispatch::subscribe);
    set(Opcode::ClientUnsubscribe, &Dispatch::unsubscribe);
    set(Opcode::Publish, &Dispatch::publish);
    set(Opcode::Send, &Dispatch::send);
    set(Opcode::Broadcast, &Dispatch::broadcast);
    return table;
  }();
  const std::uint16_t number = protocol::number(opcode);
  return number < kTable.size() ? kTable[number] : nullptr;
}

void Dispatch::on_custom(Session& session, const MessageView& message) {
  const CustomHandler* handler = handlers_.find(message.opcode);
  if (handler == nullptr) {
    refuse_opcode(session, message);
    return;
  }
  Request request(session.id(), message);
  if (handler->plain) {
    handler->plain(request);
    return;
  }
  if (has_room_for(session, message)) start(session, *handler, request);
}

bool Dispatch::has_room_for(Session& session, const MessageView& message) {
  if (session.handlers_running() >= options_.handlers_per_session_max) {
    refuse(session, message, ErrorCode::limit_exceeded,
           fmt::format("more than {} requests of the session are being served",
                       options_.handlers_per_session_max),
           kRetryAfterMs);
    return false;
  }
  if (running_.running() >= options_.handlers_running_max) {
    refuse(session, message, ErrorCode::overloaded,
           fmt::format("more than {} handlers are running", options_.handlers_running_max),
           kRetryAfterMs);
    return false;
  }
  if (message.payload.size() > options_.handler_bytes_max - handler_bytes_) {
    refuse(session, message, ErrorCode::overloaded,
           fmt::format("the requests that are being served hold more than {} bytes",
                       options_.handler_bytes_max),
           kRetryAfterMs);
    return false;
  }
  return true;
}

void Dispatch::start(Session& session, const CustomHandler& handler, const Request& request) {
  handler_bytes_ += request.payload().size();
  ++session.handlers_running();
  session.expect_answer();
  running_.spawn(
      handler.name.c_str(),
      [](Dispatch* dispatch, const CustomHandler* serves, Request own) -> runtime::Task<void> {
        const SessionId from = own.session();
        const std::size_t bytes = own.payload().size();
        co_await serves->coroutine(std::move(own));
        dispatch->end_handler(from, bytes);
      },
      this, &handler, request.copy());
}

void Dispatch::end_handler(const SessionId& id, std::size_t bytes) noexcept {
  RT_ASSERT(handler_bytes_ >= bytes);
  handler_bytes_ -= bytes;
  Session* session = Sessions::local().find(id);
  if (session == nullptr) return;
  RT_ASSERT(session->handlers_running() > 0);
  --session->handlers_running();
  session->answered();
}

// --- Refusing

void Dispatch::refuse(Session& session, const MessageView& message, ErrorCode code,
                      std::string_view text, std::uint32_t retry_after_ms) {
  ++counters_.errors;
  session.send_error(message.transaction_id, message.opcode, code, text, retry_after_ms);
}

void Dispatch::refuse_frame(Session& session, FrameStatus status) {
  if (status == FrameStatus::too_large) {
    refuse(
        session, {}, ErrorCode::frame_too_large,
        fmt::format("frame larger than limits.message_bytes_max ({})", options_.frame_bytes_max));
  } else {
    refuse(session, {}, ErrorCode::malformed_frame, "the size of the frame is impossible");
  }
}

void Dispatch::refuse_opcode(Session& session, const MessageView& message) {
  switch (protocol::classify(message.opcode)) {
    case protocol::OpcodeClass::server:
      refuse(session, message, ErrorCode::unexpected_opcode, "only the server sends this opcode");
      break;
    case protocol::OpcodeClass::request:
      if (message.opcode == Opcode::Pong) return;  // allowed from either side, and asks for nothing
      refuse(session, message, ErrorCode::unsupported_opcode, "this server does not serve it");
      break;
    case protocol::OpcodeClass::reserved:
    case protocol::OpcodeClass::custom:
      refuse(session, message, ErrorCode::unknown_opcode, "nobody serves this opcode");
      break;
  }
}

void Dispatch::refuse_payload(Session& session, const MessageView& message, ErrorCode code) {
  if (code == ErrorCode::too_many_channels) {
    refuse(
        session, message, code,
        fmt::format("the request names more than {} channels", protocol::kChannelsPerRequestMax));
  } else {
    refuse(session, message, code, "the payload is not of the opcode's type");
  }
}

template <class Table>
const Table* Dispatch::payload_of(Session& session, const MessageView& message) {
  const auto verified = protocol::verify_payload<Table>(message.payload, scratch_);
  if (!verified) refuse_payload(session, message, verified.code);
  return verified.table;
}

template <class Request>
bool Dispatch::read(Session& session, const MessageView& message, Request& request) {
  const ErrorCode code = protocol::read_request(message.payload, scratch_, request);
  if (code == ErrorCode::none) [[likely]]
    return true;
  refuse_payload(session, message, code);
  return false;
}

bool Dispatch::can_be_sent(Session& session, const MessageView& message, std::size_t frame_bytes) {
  const std::size_t queue_bytes_max = session.stream().network().options().queued_bytes_max;
  if (frame_bytes <= options_.frame_bytes_max &&
      frame_bytes + ws::server_header_bytes(frame_bytes) <= queue_bytes_max) [[likely]] {
    return true;
  }
  refuse(session, message, ErrorCode::payload_too_large,
         frame_bytes > options_.frame_bytes_max
             ? fmt::format("the data does not fit in a frame of limits.message_bytes_max ({})",
                           options_.frame_bytes_max)
             : "the data does not fit in a queue of limits.outgoing_queue_bytes_max");
  return false;
}

protocol::MessageHeader Dispatch::reply_header(const MessageView& message) const noexcept {
  return {.transaction_id = message.transaction_id, .timestamp = Core::current().wall_now()};
}

// --- Built-ins

void Dispatch::who_am_i(Session& session, const MessageView& message) {
  if (payload_of<protocol::fbs::WhoAmIRequest>(session, message) == nullptr) return;
  // Half, so that whoever floods us with this leaves room for handlers.
  if (running_.running() >= options_.handlers_running_max / 2) {
    reply_who_am_i(session, reply_header(message), "");
    return;
  }
  session.expect_answer();
  running_.spawn(
      "WhoAmI",
      [](Dispatch* dispatch, SessionId id, protocol::MessageHeader header) -> runtime::Task<void> {
        const std::string address = co_await Sessions::peer_address(id);
        Session* from = Sessions::local().find(id);
        if (from == nullptr) co_return;
        dispatch->reply_who_am_i(*from, header, address);
        from->answered();
      },
      this, session.id(), reply_header(message));
}

void Dispatch::reply_who_am_i(Session& session, const protocol::MessageHeader& header,
                              std::string_view address) {
  session.send(header, protocol::WhoAmIReplyBody{
                           .session = session.uuid(),
                           .core = session.id().core,
                           .transport = session.transport(),
                           .remote_address = address,
                           .node = options_.node_name,
                           .server_version = options_.server_version,
                           .frame_bytes_max = static_cast<std::uint32_t>(options_.frame_bytes_max),
                           .subscriptions_max =
                               static_cast<std::uint32_t>(options_.subscriptions_per_session_max)});
}

void Dispatch::ping(Session& session, const MessageView& message) {
  protocol::PingRequest request;
  if (!read(session, message, request)) return;
  const protocol::MessageHeader header = reply_header(message);
  const protocol::PongBody pong{.data = request.data, .server_time = header.timestamp};
  const std::size_t bytes = protocol::frame_bytes(header, pong);
  if (can_be_sent(session, message, bytes)) session.send(header, pong, bytes);
}

template <class Names>
std::span<const std::string_view> Dispatch::channel_names(const Names& names) {
  names_.clear();
  for (const auto* name : names) names_.emplace_back(name->c_str(), name->size());
  return names_;
}

void Dispatch::subscribe(Session& session, const MessageView& message) {
  const auto* request = payload_of<protocol::fbs::SubscribeRequest>(session, message);
  if (request == nullptr) return;
  PubSub::local().subscribe(session, message.transaction_id, channel_names(*request->channels()));
}

void Dispatch::unsubscribe(Session& session, const MessageView& message) {
  const auto* request = payload_of<protocol::fbs::UnsubscribeRequest>(session, message);
  if (request == nullptr) return;
  PubSub::local().unsubscribe(session, message.transaction_id, channel_names(*request->channels()));
}

namespace {

protocol::MessageHeader header_of(const MessageView& message) noexcept {
  return {.transaction_id = message.transaction_id,
          .timestamp = message.timestamp,
          .trace_id = message.trace_id,
          .span_id = message.span_id};
}

// What others get of it: not the transaction id.
protocol::MessageHeader passed_on(const MessageView& message) noexcept {
  protocol::MessageHeader header = header_of(message);
  header.transaction_id = {};
  return header;
}

}  // namespace

void Dispatch::publish(Session& session, const MessageView& message) {
  protocol::PublishRequest request;
  if (!read(session, message, request)) return;
  const protocol::EventBody event{
      .channel = request.channel, .data = request.data, .publisher = session.uuid()};
  if (!can_be_sent(session, message, protocol::frame_bytes({}, event))) return;
  PubSub::local().publish(session, header_of(message), request.channel, request.data,
                          request.requires_ack);
}

void Dispatch::send(Session& session, const MessageView& message) {
  protocol::SendRequest request;
  if (!read(session, message, request)) return;
  const protocol::DirectMessageBody direct{.from = session.uuid(), .data = request.data};
  if (!can_be_sent(session, message, protocol::frame_bytes(passed_on(message), direct))) return;
  Sessions::local().send(session, header_of(message), request.session, request.data,
                         request.requires_ack);
}

void Dispatch::broadcast(Session& session, const MessageView& message) {
  protocol::BroadcastRequest request;
  if (!read(session, message, request)) return;
  const protocol::BroadcastMessageBody all{.from = session.uuid(), .data = request.data};
  if (!can_be_sent(session, message, protocol::frame_bytes(passed_on(message), all))) return;
  Sessions::local().broadcast(session, header_of(message), request.data, request.requires_ack,
                              request.include_self);
}

}  // namespace corelane::services
