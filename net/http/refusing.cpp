// Answers of the server's own: errors, and what a path allows. A request that came whole leaves its
// connection as it was, whatever its answer is; only where the next request would begin is unknown
// does the connection end.

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "net/http/server.hpp"
#include "runtime/assert.hpp"

namespace corelane::net::http {
namespace {

// The methods of RFC 9110 section 9 and RFC 5789. A method of this list without a route is 405; any
// other method is 501.
constexpr std::array<std::string_view, 9> kMethods{"GET",     "HEAD",    "POST",  "PUT",  "DELETE",
                                                   "CONNECT", "OPTIONS", "TRACE", "PATCH"};

// A reason that ends with the name of a limit gets its value: "... limits.header_bytes_max (8192)".
[[gnu::cold]] std::string with_limit(std::string_view reason, const ServerOptions& options) {
  if (reason.find("limits.") == reason.npos) return std::string{reason};
  const auto time = [](runtime::Nanoseconds of) {
    const bool is_whole = of % runtime::kSecond == 0;
    const auto number = of / (is_whole ? runtime::kSecond : runtime::kMillisecond);
    return std::to_string(number) + (is_whole ? "s" : "ms");
  };
  const std::array<std::pair<std::string_view, std::string>, 6> limits{{
      {"limits.request_line_bytes_max", std::to_string(options.limits.request_line_bytes_max)},
      {"limits.header_bytes_max", std::to_string(options.limits.header_bytes_max)},
      {"limits.header_fields_max", std::to_string(options.limits.fields_max)},
      {"limits.http_body_bytes_max", std::to_string(options.limits.body_bytes_max)},
      {"limits.header_deadline", time(options.header_deadline)},
      {"limits.message_deadline", time(options.body_deadline)},
  }};
  std::string text{reason};
  for (const auto& [name, value] : limits) {
    if (reason.ends_with(name)) text += " (" + value + ")";
  }
  return text;
}

}  // namespace

ResponseContext Server::context_of(const Request& request) const noexcept {
  ResponseContext context = ResponseContext::of(request);
  if (draining_) context.keep_alive = false;
  return context;
}

// After a lookup. A server with upgrades has something on every path.
bool Server::is_options(const Request& request) const noexcept {
  if (match_.outcome() == RouteMatch::Outcome::options) return true;
  return match_.outcome() == RouteMatch::Outcome::not_found && request.method == "OPTIONS" &&
         options_.upgrade != nullptr;
}

Server::Verdict Server::answer_options(ServerConnection& connection, Stream& stream,
                                       const ResponseContext& context) {
  const bool has_routes = match_.outcome() == RouteMatch::Outcome::options;
  const std::string allow = has_routes ? routes_.allow(match_) : "GET, OPTIONS";
  const std::array<Field, 1> fields{Field{.name = "Allow", .value = allow}};
  Responder responder{*this, connection, stream, context};
  const bool sent = responder.respond(Status::no_content, {.fields = fields}, {});
  RT_ASSERT(sent);  // methods are tokens
  return end_request(connection, stream, context);
}

// After a lookup that found nothing to run.
Server::Verdict Server::refuse_unrouted(ServerConnection& connection, Stream& stream,
                                        const Request& request, const ResponseContext& context) {
  const RouteMatch::Outcome outcome = match_.outcome();
  if (outcome == RouteMatch::Outcome::malformed) {
    return refuse(connection, stream, Status::bad_request,
                  {.context = context, .reason = "malformed path"});
  }
  if (std::ranges::find(kMethods, request.method) == kMethods.end() &&
      !routes_.has_method(request.method)) {
    return refuse(connection, stream, Status::not_implemented, {.context = context});
  }
  if (outcome == RouteMatch::Outcome::method_not_allowed) {
    const std::string allow = routes_.allow(match_);
    return refuse(connection, stream, Status::method_not_allowed,
                  {.context = context, .allow = allow});
  }
  const bool is_found = outcome == RouteMatch::Outcome::found;
  return refuse(connection, stream, is_found ? Status::upgrade_required : Status::not_found,
                {.context = context});
}

// The client waits for our answer before it sends the body. If no route takes the request, the
// answer is final, and the connection closes behind it, because the body may still come.
Server::Verdict Server::on_expect_continue(ServerConnection& connection, Stream& stream) {
  const Request& request = connection.parser.request();
  const RouteHandler* route = routes_.lookup(request.method, request.path, match_);
  const bool runs = route != nullptr && route->is_served();
  if (!runs && !is_options(request) && !may_be_upgrade(request)) {
    ResponseContext context = context_of(request);
    context.keep_alive = false;
    return refuse_unrouted(connection, stream, request, context);
  }
  send(connection, stream, std::as_bytes(std::span{kContinueResponse}), Memory::copied);
  return Verdict::go_on;
}

// An error response of our own. The connection ends unless the context keeps it, which a request
// that did not come whole must not.
Server::Verdict Server::refuse(ServerConnection& connection, Stream& stream, Status status,
                               const ErrorOptions& options) {
  const std::string reason = with_limit(options.reason, options_);
  log_refusal(connection, stream, status, reason);
  ErrorOptions logged = options;
  logged.reason = reason;
  return write_refusal(connection, stream, status, logged);
}

Server::Verdict Server::write_refusal(ServerConnection& connection, Stream& stream, Status status,
                                      const ErrorOptions& options) {
  ++counters_.errors;
  ErrorOptions full = options;
  full.date = date();
  std::vector<std::byte>& out = empty_scratch();
  write_error(out, status, full);
  send(connection, stream, out, Memory::copied);
  return end_request(connection, stream, options.context);
}

// The answer to a request has been given.
Server::Verdict Server::end_request(ServerConnection& connection, Stream& stream,
                                    const ResponseContext& context) noexcept {
  connection.wait = ServerConnection::Wait::none;  // a new deadline begins with what comes next
  if (!context.keep_alive) return finish(connection, stream);
  connection.answered = true;
  connection.parser.reset();
  return Verdict::go_on;
}

}  // namespace corelane::net::http
