#pragma once
// What a handler of an HTTP route sees: the request, the route's parameters, and a Responder to
// answer with. A handler is a plain function on the connection's core, which answers before it
// returns, or asks for a DeferredResponder to answer later; or it is a coroutine. An exception from
// either is 500, and one line in the log.

#include <cstddef>
#include <span>
#include <string_view>

#include "net/http/deferred.hpp"
#include "net/http/message.hpp"
#include "net/http/owned_request.hpp"
#include "net/http/response.hpp"
#include "net/http/router.hpp"
#include "runtime/task.hpp"

namespace corelane::net {
class Stream;
}

namespace corelane::net::http {

class Server;
struct ServerConnection;

// Takes one answer and sends it with the end of the turn. Connection, Content-Length and Date are
// written here, and the body is left out for HEAD, so a handler need not look at the method.
class Responder {
 public:
  Responder(const Responder&) = delete;
  Responder& operator=(const Responder&) = delete;

  // Copies everything. False, and nothing is sent, if there was an answer before, or if a value
  // cannot stand in a header (write_response). `status` is a final one: 200 or above. After an
  // error status of the handler's own the connection stays open, if the peer wants it to.
  bool respond(Status status, std::string_view content_type, std::string_view body);
  bool respond(Status status, const ResponseOptions& options, std::span<const std::byte> body);
  // `response` outlives the server's streams. Costs no allocation.
  bool respond_static(const StaticResponse& response);
  // The answer comes later, by this: on this core or from another one. From here on respond() is
  // false. Requests behind this one wait unparsed, so answers keep their order.
  DeferredResponder defer();

  bool answered() const noexcept { return answered_; }
  const ResponseContext& context() const noexcept { return context_; }

 private:
  friend class Server;

  Responder(Server& server, ServerConnection& connection, Stream& stream,
            const ResponseContext& context) noexcept
      : server_(server), connection_(connection), stream_(stream), context_(context) {}

  Server& server_;
  ServerConnection& connection_;
  Stream& stream_;
  ResponseContext context_;
  bool answered_ = false;
};

// The request, the match and the responder are loans until it returns; OwnedRequest::copy() keeps
// the first two. One that returns without an answer, and has not deferred it, has the server answer
// 500.
using Handler = void (*)(void* context, const Request& request, const RouteMatch& match,
                         Responder& responder);

// Runs on the connection's core. `request` lives until it returns. It is cancelled when the peer
// goes away (net/http/deferred.hpp says how that is known), when the answer's deadline passes, and
// when the server stops; having answered, it may go on. One that returns without an answer has the
// server answer 500.
using CoroutineHandler = runtime::Task<void> (*)(void* context, const OwnedRequest& request,
                                                 DeferredResponder responder);

// One of the two handlers; with none the route speaks only WebSocket, and plain HTTP gets 426.
struct RouteHandler {
  Handler run = nullptr;
  void* context = nullptr;
  CoroutineHandler coroutine = nullptr;
  // For coroutines. Not 0: the handler begins when the head is there and reads the body, at most
  // this many bytes, by DeferredResponder::read_body(); a longer body is 413. 0: the body is a part
  // of the request, within Limits::body_bytes_max.
  std::uint64_t streamed_bytes_max = 0;

  bool is_served() const noexcept { return run != nullptr || coroutine != nullptr; }
};

// Immutable once a server uses it; cores may share it if they may share the contexts.
using Routes = Router<RouteHandler>;

}  // namespace corelane::net::http
