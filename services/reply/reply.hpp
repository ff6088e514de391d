#pragma once
// ReplyTo: where the completion of a service's operation goes. A service's operations take plain
// arguments and one of these; what is asked for may finish on another core and turns later. It
// names its receiver by {core, slot, generation}, so that one that is gone by then is not found.
//
//   kind      receiver                            the completion becomes
//   nobody    none                                nothing
//   session   a client of the opcode protocol     a reply under its request's transaction id
//   task      a coroutine that awaits it (ask)    the result of its co_await
//   http      a request that waits for its        200 and JSON, or the status of the error
//             answer (DeferredResponder)
//
// A completion is a struct of the service (services::Published); complete(to, completion), declared
// beside it, runs on core `to.core`. With `wants_success` an operation completes exactly once;
// without it at most once, and only if it failed: a publish that nobody waits for costs no message
// back. How a completion looks on the wire stands with the opcodes of its service (handlers.cpp).

#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>

#include "net/http/deferred.hpp"
#include "protocol/opcode.hpp"
#include "protocol/uuid.hpp"
#include "runtime/core.hpp"
#include "runtime/reply.hpp"
#include "services/sessions/sessions.hpp"

namespace corelane::services {

struct ReplyTo {
  enum class Kind : std::uint8_t { nobody, session, task, http };

  Kind kind = Kind::nobody;
  bool wants_success = false;
  runtime::CoreId core = runtime::kNoCore;
  std::uint32_t slot = 0;
  std::uint32_t generation = 0;
  std::uint16_t http_server = 0;    // of the core: it may have several
  protocol::Uuid transaction_id{};  // of a session's request

  // The session counts what it waits for: a half-closed one ends when it has all its answers.
  static ReplyTo session(Session& session, const protocol::Uuid& transaction_id,
                         bool wants_success) noexcept {
    if (wants_success) session.expect_answer();
    const SessionId& id = session.id();
    return {.kind = Kind::session,
            .wants_success = wants_success,
            .core = id.core,
            .slot = id.slot,
            .generation = id.generation,
            .transaction_id = transaction_id};
  }
  static ReplyTo http(const net::http::DeferredResponder& responder) noexcept {
    const net::http::ResponderId id = responder.id();
    return {.kind = Kind::http,
            .wants_success = true,
            .core = id.core,
            .slot = id.slot,
            .generation = id.generation,
            .http_server = id.server};
  }
  static ReplyTo task(const runtime::ReplyName& name) noexcept {
    return {.kind = Kind::task,
            .wants_success = true,
            .core = name.core,
            .slot = name.slot,
            .generation = name.generation};
  }
};

// A completion as the answer of a request over HTTP: `json` if there is no error.
struct HttpAnswer {
  protocol::ErrorCode code = protocol::ErrorCode::none;
  std::string json;
};
void answer_http(const ReplyTo& to, const HttpAnswer& answer);

// Gives a completion to the target `to`, for the complete() of its type. On core `to.core`.
// `write(Session&)` sends it as the reply of a session's request, `http()` makes it an HttpAnswer.
template <class Completion, class Write, class Http>
void complete_as(const ReplyTo& to, Completion&& completion, const Write& write, const Http& http) {
  switch (to.kind) {
    case ReplyTo::Kind::nobody:
      return;
    case ReplyTo::Kind::session: {
      Session* session =
          Sessions::local().find({.core = to.core, .slot = to.slot, .generation = to.generation});
      if (session == nullptr) return;
      write(*session);
      if (to.wants_success) session->answered();
      return;
    }
    case ReplyTo::Kind::task:
      runtime::give<std::remove_cvref_t<Completion>>(
          {.core = to.core, .slot = to.slot, .generation = to.generation},
          std::forward<Completion>(completion));
      return;
    case ReplyTo::Kind::http:
      answer_http(to, http());
      return;
  }
}

// Completes on core `to.core`, over a lane; on this core in the next turn.
template <class Completion>
struct CompletionMessage {
  ReplyTo to;
  Completion completion;
  void deliver(runtime::CoreId) const { complete(to, completion); }
};

template <class Completion>
void send_completion(const ReplyTo& to, const Completion& completion) noexcept {
  if (to.kind == ReplyTo::Kind::nobody) return;
  runtime::Core::current().lanes().send(to.core, CompletionMessage<Completion>{to, completion});
}

// Awaits an operation: `start(const ReplyTo&)` begins it. The wait can be given up, then the
// result is ErrorCode::cancelled; the operation goes on.
template <class Completion, class Start>
[[nodiscard]] auto completion_of(Start start) {
  return runtime::ask<Completion>(
      [start = std::move(start)](const runtime::ReplyName& name) { start(ReplyTo::task(name)); });
}

}  // namespace corelane::services
