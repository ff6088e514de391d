#pragma once
// DeferredResponder: the name of a request that waits for its answer: from Responder::defer(), and
// the argument of a coroutine handler. A small value that may be copied, kept, and sent in a lane
// message to any core; it never keeps anything alive. The request ends with its answer, with the
// answer's deadline (ServerOptions::answer_deadline: 504), or with the connection. A later answer
// is dropped and returns Delivery::gone.
//
// A peer that has ended its direction (FIN) still gets its answer. The server notices a vanished
// peer by a reset, or by a failed send. While requests wait behind the one that is being served,
// receiving pauses, and only a failed send shows that the peer is gone.
//
// Functions run on the home core (id().core) unless they say otherwise.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "net/http/response.hpp"
#include "runtime/result.hpp"
#include "runtime/task.hpp"
#include "runtime/types.hpp"

namespace corelane::net {
class Stream;
struct StreamId;
}  // namespace corelane::net

namespace corelane::net::http {

struct ErrorOptions;

struct ResponderId {
  runtime::CoreId core = runtime::kNoCore;
  std::uint16_t server = 0;  // of that core: one may have several
  std::uint32_t slot = 0;
  std::uint32_t generation = 0;
  friend bool operator==(const ResponderId&, const ResponderId&) = default;
};

// What became of an answer.
enum class Delivery : std::uint8_t {
  queued,   // it leaves with the end of the turn; whether the peer reads it is not known
  gone,     // the request has ended: the peer is gone, or it has an answer (504 too)
  invalid,  // the arguments do not fit the request: see the function. The request still waits
};

// Gives a stream its next handler and owner, in place of the HTTP server. It must not pause
// receiving; bytes that came behind the request reach the new handler's on_data right after it
// returns. The stream's timer is off when it is called.
using TakeStream = void (*)(void* context, Stream& stream) noexcept;

class DeferredResponder {
 public:
  DeferredResponder() = default;  // names nothing: every answer is gone
  explicit DeferredResponder(ResponderId id) noexcept : id_(id) {}
  ResponderId id() const noexcept { return id_; }

  // Somebody waits for an answer, or for more of it.
  bool waiting() const noexcept;
  // The server is draining. It waits for answers under way, so an endless answer in pieces should
  // end now; otherwise the drain's deadline cuts it off.
  bool draining() const noexcept;

  // For net::peer_address(). The stream may be gone already, or after any suspension.
  StreamId stream() const noexcept;

  // --- An upgrade (UpgradeOutcome::Kind::deferred). A peer that ends its direction while it waits
  // has gone: it cannot take part in another protocol. One that has sent something behind its
  // request is read no further, and is known to have gone only when it is sent to. A drain answers
  // 503.

  // Ends HTTP on the connection: calls `take` before it returns; `take` may send the last bytes of
  // HTTP. Queued: `take` was called. Gone: not called, because the request has ended or an answer
  // was begun. Invalid: not called, because the request is no deferred upgrade.
  Delivery hand_over(TakeStream take, void* context) const;
  // Answers with an error in the form of the server's own errors, logged and counted as one; the
  // connection stays in HTTP. Fills in context and date. `status` is an error (400 and up). Works
  // for any waiting request, an upgrade or not. Queued or gone, as respond().
  Delivery refuse(Status status, const ErrorOptions& options) const;

  // --- An answer as a whole: as with Responder. Copies everything. Invalid: a value cannot stand
  // in a header (write_response).
  Delivery respond(Status status, std::string_view content_type, std::string_view body) const;
  Delivery respond(Status status, const ResponseOptions& options,
                   std::span<const std::byte> body) const;

  // --- The same from any core: copies the answer and sends it home, where the bytes go into the
  // stream's queue. `answer` suspends until they have, and is not cancelled; `post` does not wait:
  // what became of the answer is only counted (Server::Counters::answers_lost).
  runtime::Task<Delivery> answer(Status status, std::string_view content_type,
                                 std::string_view body) const;
  void post(Status status, std::string content_type, std::string body) const;

  // --- An answer in pieces: begin, any number of writes, end. Its length is not known (HTTP/1.1:
  // the chunked coding, RFC 9112 section 7.1; HTTP/1.0: the connection's end) or is `length`. The
  // answer deadline is for begin(); from there on only a peer that takes nothing ends it
  // (NetworkOptions::write_stall_timeout).
  Delivery begin(Status status, const ResponseOptions& options,
                 std::optional<std::uint64_t> length = std::nullopt) const;
  // Copies `bytes` into the stream's queue, as far as it is not half full, and suspends while it
  // is: a slow reader holds the producer. `bytes` stay as they are until it returns. To HEAD
  // nothing is sent. Errors: closed (the peer has gone, or the answer has ended: produce no more),
  // cancelled, invalid_argument (nothing was begun, or more than `length`).
  runtime::Task<runtime::Result<void>> write(std::span<const std::byte> bytes) const;
  // The answer is whole. If it is shorter than its `length` it is `invalid` and the connection is
  // cut off, as is that of a coroutine handler that returns without an end; so no peer takes a part
  // for the whole, but for a client of HTTP/1.0 to which no length was told.
  Delivery end() const;

  // --- The body of a request whose route reads it in pieces (RouteHandler::streamed_bytes_max).
  // Suspends until there is something, and returns how many bytes were put into `into`; 0: the body
  // has ended (or `into` is empty). While nobody asks, receiving pauses, so the peer waits; a
  // client that waits for our 100 (RFC 9110 section 10.1.1) gets it with the first call. Errors:
  // closed (the peer has gone, or its request was refused: malformed, too large, too slow, cut
  // short; that answer has been given), cancelled.
  //
  // The peer has ServerOptions::body_deadline and a second for each 16 KiB, counting only the time
  // in which the handler waits for it. After each piece the answer deadline begins again. An answer
  // before the body's end closes the connection, unless all of the body has come.
  runtime::Task<runtime::Result<std::size_t>> read_body(std::span<std::byte> into) const;

 private:
  ResponderId id_;
};
static_assert(sizeof(DeferredResponder) == 12, "fits into a lane message beside other things");

}  // namespace corelane::net::http
