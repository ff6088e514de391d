#include "services/dispatch/dispatch.hpp"

#include <fmt/format.h>

#include <cstring>
#include <exception>
#include <utility>

#include "net/network.hpp"
#include "runtime/exception.hpp"
#include "runtime/log.hpp"
#include "services/sessions/sessions.hpp"
#include "ws/frame.hpp"

namespace corelane::services {

using protocol::ErrorCode;
using protocol::FrameStatus;
using protocol::MessageView;
using runtime::Core;

namespace {

constexpr std::uint32_t kRetryAfterMs = 100;  // a handler has probably ended by then
constexpr std::uint32_t kMemoryRetryAfterMs = 1000;

constinit runtime::LogReason kHandlerFailed("a handler ended with an exception");

}  // namespace

// --- Requests

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
         session->reply(header_.transaction_id,
                        protocol::RawBody{.kOpcode = opcode_, .payload = payload});
}

bool Request::fail(ErrorCode code, std::string_view text, std::uint32_t retry_after_ms) const {
  Session* session = find();
  return session != nullptr &&
         session->send_error(header_.transaction_id, opcode_, code, text, retry_after_ms);
}

MessageView Request::view() const noexcept {
  MessageView view;
  view.opcode = opcode_;
  view.transaction_id = header_.transaction_id;
  view.payload = payload_;
  view.timestamp = header_.timestamp;
  view.trace_id = header_.trace_id;
  view.span_id = header_.span_id;
  return view;
}

bool Request::serve_original() const {
  Session* session = find();
  if (session == nullptr) return false;
  Dispatch& dispatch = Dispatch::local();
  const OpcodeRow& row = dispatch.table().row(opcode_);
  if (row.serve != nullptr) {
    row.serve(dispatch, *session, view());
  } else {
    dispatch.refuse_opcode(*session, view());
  }
  return true;
}

Request Request::without_payload() const noexcept {
  MessageView without = view();
  without.payload = {};
  return Request(session_, without);
}

Request Request::copy() const {
  Request request = without_payload();
  if (!payload_.empty()) {
    request.memory_ = std::make_unique<std::byte[]>(payload_.size());
    std::memcpy(request.memory_.get(), payload_.data(), payload_.size());
    request.payload_ = {request.memory_.get(), payload_.size()};
  }
  return request;
}

// --- Frames

Dispatch::Dispatch(DispatchOptions options, const OpcodeTable& table)
    : options_(std::move(options)),
      table_(table),
      core_(Core::current()),
      traffic_(Traffic::local()),
      memory_(core_.memory()) {
  set_local(ServiceSlot::dispatch, this);
}

Dispatch::~Dispatch() {
  set_local(ServiceSlot::dispatch, nullptr);
}

runtime::Task<void> Dispatch::stop() {
  running_.cancel();
  co_await running_.join();
}

// What is no message counts as a request, too.
inline bool Dispatch::admits(Session& session, const protocol::MessageView& message,
                             std::size_t bytes) {
  if (session.spend(bytes, core_.now())) [[likely]]
    return true;
  return Sessions::local().quota().admit(session, message, bytes);
}

void Dispatch::on_message(Session& session, std::span<const std::byte> message) {
  for (protocol::FrameCursor cursor(message, options_.frame_bytes_max); !cursor.at_end();) {
    const protocol::Frame frame = cursor.next();
    if (frame.status != FrameStatus::complete) {
      if (admits(session, {}, message.size())) refuse_frame(session, frame.status);
      return;
    }
    on_frame(session, frame.message);
    // The frame may have closed the session, as a slow reader or by a handler. A closed session
    // gets no answers, so its further frames must not take effect.
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
  const protocol::VerifiedMessage verified = protocol::verify_message(message);
  if (!admits(session, verified.view, message.size())) return;
  if (!verified.ok) {
    refuse(session, {}, ErrorCode::malformed_message, "the frame holds no valid Message");
    return;
  }
  if (traffic_.count_in(verified.view.opcode, protocol::kFrameSizeBytes + message.size()))
      [[unlikely]] {
    return serve_timed(session, verified.view);
  }
  table_.serve(*this, session, verified.view);
}

void Dispatch::serve_timed(Session& session, const MessageView& message) {
  const SessionId id = session.id();
  const Traffic::Timed timed{.opcode = message.opcode,
                             .slot = id.slot,
                             .generation = id.generation,
                             .begin = Core::current().ring().now(),
                             .transaction_id = message.transaction_id};
  const std::uint32_t awaited = session.answers_awaited();
  traffic_.begin_timed(timed);
  table_.serve(*this, session, message);
  traffic_.end_timed(timed, session.answers_awaited() > awaited);
}

// --- Handlers of the application

void Dispatch::run(const CustomHandler& handler, Session& session, const MessageView& message) {
  Request request(session.id(), message);
  if (!handler.plain) {
    if (has_room_for(session, message)) start(session, handler, request);
    return;
  }
  try {
    handler.plain(request);
  } catch (...) {
    fail(request, handler, runtime::describe(std::current_exception()));
  }
}

void Dispatch::fail(const Request& request, const CustomHandler& handler,
                    std::string_view what) noexcept {
  ++counters_.failures;
  runtime::log_limited(kHandlerFailed, runtime::LogLevel::error, [&] {
    return fmt::format("the handler \"{}\" of opcode {} failed: {}", handler.name,
                       protocol::number(request.opcode()), what);
  });
  request.fail(ErrorCode::internal, "the handler failed");
}

void Dispatch::refuse_for_memory(Session& session, const MessageView& message) {
  refuse(session, message, ErrorCode::overloaded, "limits.memory_bytes_max is nearly reached",
         kMemoryRetryAfterMs);
}

bool Dispatch::has_room_for(Session& session, const MessageView& message) {
  if (!has_memory(session, message)) return false;
  const SessionExtension* extension = session.extension();
  if (extension != nullptr && extension->handlers_running >= options_.handlers_per_session_max) {
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
  memory_.add(runtime::MemoryKind::handlers, request.payload().size());
  ++session.extend().handlers_running;
  session.expect_answer();
  running_.spawn(
      handler.name.c_str(),
      [](Dispatch* dispatch, const CustomHandler* serves, Request own) -> runtime::Task<void> {
        const SessionId from = own.session();
        const std::size_t bytes = own.payload().size();
        const Request failed = own.without_payload();
        std::exception_ptr thrown;
        try {
          co_await serves->coroutine(std::move(own));
        } catch (...) {
          thrown = std::current_exception();
        }
        // A handler that waits when the server stops ends as it was asked to.
        const bool is_stopped = dispatch->running_.cancelled() && runtime::is_cancelled(thrown);
        if (thrown != nullptr && !is_stopped) {
          dispatch->fail(failed, *serves, runtime::describe(thrown));
        }
        dispatch->end_handler(from, bytes);
      },
      this, &handler, request.copy());
}

void Dispatch::end_handler(const SessionId& id, std::size_t bytes) noexcept {
  RT_ASSERT(handler_bytes_ >= bytes);
  handler_bytes_ -= bytes;
  memory_.remove(runtime::MemoryKind::handlers, bytes);
  Session* session = Sessions::local().find(id);
  if (session == nullptr) return;
  RT_ASSERT(session->extension() != nullptr);
  RT_ASSERT(session->extension()->handlers_running > 0);
  --session->extension()->handlers_running;
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
      return;
    case protocol::OpcodeClass::request:
      // Allowed from either side, and asks for nothing.
      if (message.opcode == protocol::Opcode::Pong) return;
      if (protocol::opcode_name(message.opcode).empty()) break;
      refuse(session, message, ErrorCode::unsupported_opcode, "this server does not serve it");
      return;
    case protocol::OpcodeClass::reserved:
    case protocol::OpcodeClass::custom:
      break;
  }
  refuse(session, message, ErrorCode::unknown_opcode, "nobody serves this opcode");
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

}  // namespace corelane::services
