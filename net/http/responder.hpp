#pragma once
// What a handler of an HTTP route sees: the request, the route's parameters, and a Responder to
// answer with. Handlers are plain functions on the connection's core; they answer before they
// return and never suspend. The request, the match and the responder are loans until then.

#include <cstddef>
#include <span>
#include <string_view>

#include "net/http/message.hpp"
#include "net/http/response.hpp"
#include "net/http/router.hpp"

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

// A handler that returns without an answer has the server answer 500.
using Handler = void (*)(void* context, const Request& request, const RouteMatch& match,
                         Responder& responder) noexcept;

struct RouteHandler {
  Handler run = nullptr;  // null: the route speaks only WebSocket, plain HTTP gets 426
  void* context = nullptr;
};

// Immutable once a server uses it; cores may share it if they may share the contexts.
using Routes = Router<RouteHandler>;

}  // namespace corelane::net::http
