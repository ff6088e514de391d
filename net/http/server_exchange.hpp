#pragma once
// What the HTTP server keeps for a request whose answer comes later, or in pieces, or whose body
// is read in pieces: one at most for each connection, in the server's slab, on the server's core.
// It ends with the answer, with its deadline, or with the connection, and its name
// (DeferredResponder) with it.

#include <cstddef>
#include <cstdint>

#include "net/http/response.hpp"
#include "runtime/cancel.hpp"
#include "runtime/types.hpp"
#include "runtime/wait_queue.hpp"

namespace corelane::net::http {

struct ServerConnection;

struct ServerExchange {
  enum class Answer : std::uint8_t {
    none,
    in_pieces,    // begun, not ended
    given,        // while the handler runs: its return ends the exchange
    failed,       // the same, with an answer of ours
    handed_over,  // the same, and the stream has another owner
  };
  static constexpr std::uint64_t kUnknownLength = UINT64_MAX;

  ServerExchange(ServerConnection& of, const ResponseContext& answer_context) noexcept
      : connection(of), context(answer_context) {}

  ServerConnection& connection;
  std::uint32_t slot = 0;  // in the server's slab
  std::uint32_t generation = 0;
  ResponseContext context;
  Answer answer = Answer::none;
  Status status{};  // of a failure, and its reason
  const char* failure = "";
  bool in_handler = true;   // the handler has not returned, or not suspended for the first time
  bool was_logged = false;  // the failure
  bool is_upgrade = false;  // its answer may hand the stream over
  runtime::Nanoseconds deadline = 0;
  // An answer in pieces.
  bool is_chunked = false;
  std::uint64_t length_left = kUnknownLength;
  runtime::WaitQueue room{"HTTP body, to send"};  // its writer
  // A body in pieces.
  bool body_comes = false;
  bool awaits_continue = false;  // the client sends its body after our 100
  bool is_body_awaited = false;  // since `awaited_at`
  runtime::Nanoseconds awaited_at = 0;
  runtime::Nanoseconds awaited = 0;  // before, together
  std::uint64_t body_bytes = 0;
  std::size_t request_bytes = 0;                      // held by the request of its handler
  runtime::WaitQueue input{"HTTP body, to receive"};  // its reader
  runtime::CancelScope* scope = nullptr;              // of a coroutine handler that runs
};

}  // namespace corelane::net::http
