#pragma once
// Request: one message of a client on its way to a handler of the application (opcodes from 200 up,
// or a built-in that it overrides), and the way back. A plain handler gets it by reference, its
// payload lying in the receive buffer; a coroutine gets one of its own, whose payload is a copy,
// and may answer after any suspension: if the client is gone by then, answers go nowhere and say
// so.

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include "protocol/message.hpp"
#include "protocol/opcode.hpp"
#include "protocol/verify.hpp"
#include "services/sessions/sessions.hpp"

namespace corelane::services {

struct QuotaResult;  // services/quota/quota.hpp

class Request {
 public:
  Request(const SessionId& session, const protocol::MessageView& message) noexcept
      : session_(session),
        opcode_(message.opcode),
        header_{.transaction_id = message.transaction_id,
                .timestamp = message.timestamp,
                .trace_id = message.trace_id,
                .span_id = message.span_id},
        payload_(message.payload) {}
  Request(Request&&) noexcept = default;
  Request& operator=(Request&&) noexcept = default;

  protocol::Opcode opcode() const noexcept { return opcode_; }
  const protocol::MessageHeader& header() const noexcept { return header_; }
  std::span<const std::byte> payload() const noexcept { return payload_; }
  SessionId session() const noexcept { return session_; }
  // nil if the session has ended.
  protocol::Uuid session_uuid() const noexcept;

  // Answers under the request's opcode and transaction id. False: the client is gone, or was closed
  // as a slow reader, or the answer is larger than an outgoing queue (1 MiB by default) and the
  // client was sent Error payload_too_large instead. Any number of answers may be given.
  bool reply(std::span<const std::byte> payload) const;
  bool reply(std::string_view text) const { return reply(std::as_bytes(std::span{text})); }
  bool fail(protocol::ErrorCode code, std::string_view text,
            std::uint32_t retry_after_ms = 0) const;

  // What the session's quotas have made of this request. In a plain handler, and in a coroutine
  // before its first suspension; later it is the result of another request.
  QuotaResult quota_result() const;

  // For a handler that overrides a built-in: serves the request as if it had not been overridden,
  // its answer included (an Error if the server does not serve it). False: the client is gone.
  bool serve_original() const;

  Request without_payload() const noexcept;
  // The same request with a payload of its own, for a coroutine.
  Request copy() const;

 private:
  Session* find() const noexcept;
  protocol::MessageView view() const noexcept;

  SessionId session_;
  protocol::Opcode opcode_;
  protocol::MessageHeader header_;
  std::span<const std::byte> payload_;
  std::unique_ptr<std::byte[]> memory_;  // of the payload, if it is a copy
};

}  // namespace corelane::services
