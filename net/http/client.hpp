#pragma once
// HttpClient: an HTTP/1.1 client for coroutines (RFC 9110, RFC 9112), with a pool of connections
// that are kept for the next request.
//
//   net::http::HttpClient client;                                      // one a core
//   auto answer = co_await client.get("http://example.org/list?page=2");
//   if (answer && answer->status() == Status::ok) {
//     auto text = co_await answer->collect(1024 * 1024);               // or read(), piece by piece
//   }
//
// A client belongs to the core that made it, and is destroyed behind its answers and uploads. Any
// number of coroutines may use it. The connection of an answer goes back to the pool when the body
// has been read to its end. It is closed instead if the body is left unread (unless all of it has
// come, within ClientOptions::discarded_bytes_max), and after every error, cancel or deadline: none
// is kept half used.
//
// Backpressure: a body that is not read stops receiving (TcpStream), and write() waits for a server
// that does not read.
//
// Retried once, on a new connection: a request whose method is idempotent and whose body is whole,
// if the connection was a kept one and ended before any byte of an answer (RFC 9110 section 9.2.2,
// RFC 9112 section 9.3.1). Nothing else is sent twice.
//
// No TLS: https URLs are refused with `unsupported`.
//
// Errors: those of connecting (net/connect.hpp) and of TcpStream; cancelled; timed_out (the
// request's deadline, or connect_timeout); and those of ClientFault, which fault_of() finds.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "net/http/limits.hpp"
#include "net/http/message.hpp"
#include "net/http/status.hpp"
#include "net/http/url.hpp"
#include "net/resolve.hpp"
#include "runtime/result.hpp"
#include "runtime/task.hpp"
#include "runtime/types.hpp"

namespace corelane::net::http {

namespace detail {
class ClientPool;
class Exchange;
struct ExchangeEnd {
  void operator()(Exchange* exchange) const noexcept;
};
using ExchangeHandle = std::unique_ptr<Exchange, ExchangeEnd>;
}  // namespace detail

struct ClientOptions {
  // Of an answer: head, fields, body. A body is read in pieces, so its limit costs no memory.
  Limits limits = default_limits();
  std::size_t connections_per_host = 8;
  // Requests that wait for a connection to one host, first come first served; one more is refused.
  std::size_t waiting_max = 1024;
  std::size_t idle_max = 64;  // kept connections, to all hosts; the one idle longest goes
  runtime::Nanoseconds idle_timeout = 30 * runtime::kSecond;
  runtime::Nanoseconds connect_timeout = 10 * runtime::kSecond;
  // From the call to the end of the answer's body, all redirects included; kNever: none. Up to a
  // quarter of a second late.
  runtime::Nanoseconds request_timeout = 60 * runtime::kSecond;
  // How long a request with `expect_continue` waits before it sends its body all the same.
  runtime::Nanoseconds continue_timeout = 1 * runtime::kSecond;
  std::uint64_t discarded_bytes_max = 64 * 1024;  // of a body that nobody reads
  // What a URL that is a path stands behind: with http://h/v1, "/list" asks for /v1/list. It has no
  // query.
  std::string base{};
  Resolver resolver{};  // default: the core's cache of names (net/name_cache.hpp)

  static constexpr Limits default_limits() noexcept {
    Limits limits;
    limits.header_bytes_max = std::size_t{64} * 1024;
    limits.fields_max = 256;
    limits.body_bytes_max = std::uint64_t{1} << 40;
    return limits;
  }
};

// All views live until the request has been sent: until co_await is done.
struct ClientRequest {
  std::string_view method = "GET";
  std::string_view url = {};           // or a path, behind ClientOptions::base
  std::span<const Field> fields = {};  // more fields; not Host, Content-Length, Transfer-Encoding
  std::span<const std::byte> body = {};
  // Waits for the server's 100, or its answer, before the body is sent (RFC 9110 section 10.1.1).
  bool expect_continue = false;
  // How many redirects are followed (RFC 9110 section 15.4), at most kRedirectsMax; 0: none, the
  // answer is the redirect. 303, and 301 and 302 of a POST, go on as GET without the body. To
  // another origin go no Authorization, Proxy-Authorization or Cookie.
  std::size_t redirects_max = 0;
  std::optional<runtime::Nanoseconds> timeout = {};  // else ClientOptions::request_timeout
};
inline constexpr std::size_t kRedirectsMax = 20;

// What is wrong, where the code of an error does not say it: its `detail`.
enum class ClientFault : std::int32_t {
  none = 0,
  // Above the HTTP statuses and the close codes of WebSockets, which are details of `closed`, too.
  bad_url = 5001,      // invalid_argument: no http URL, or a path without a base, or //host
  bad_request,         // invalid_argument: a method, target or field that cannot be sent
  bad_length,          // invalid_argument: more or less was written than announced
  no_tls,              // unsupported
  no_answer,           // closed: the connection ended before any byte of an answer
  cut_answer,          // closed: it ended in the middle of one
  malformed_answer,    // closed: no strict HTTP/1.1, or an answer to what was not asked
  bad_redirect,        // closed: a Location that is no http URL, or names another Unix socket
  answered,            // closed: the server has answered and takes no more of the body
  large_answer,        // limit_exceeded: one of ClientOptions::limits, or that of collect()
  too_many_redirects,  // limit_exceeded: ClientRequest::redirects_max
  too_many_waiting,    // limit_exceeded: ClientOptions::waiting_max
};
constexpr runtime::Error error_of(runtime::ErrorCode code, ClientFault fault) noexcept {
  return {code, static_cast<std::int32_t>(fault)};
}
ClientFault fault_of(const runtime::Error& error) noexcept;
// One line, as runtime::describe().
std::string describe_client_error(const runtime::Error& error);

// The answer: its head, which is there, and its body, which comes as it is read. Move-only.
class ClientResponse {
 public:
  Status status() const noexcept;
  std::string_view reason() const noexcept;
  // Views that live as long as this object.
  std::span<const Field> fields() const noexcept;
  // The value of the only field with this name; empty if there is none, or several.
  std::string_view single(std::string_view name) const noexcept {
    return single_value(fields(), name);
  }
  // Where it came from, redirects followed, and how many.
  const Url& url() const noexcept;
  std::size_t redirects() const noexcept;
  // The size of the body, if the server says so; 0 if there is none, as after HEAD, 204 and 304.
  std::optional<std::uint64_t> body_bytes() const noexcept;

  // The next bytes of the body, where they lie: not empty, valid until the next call. A cancelled
  // read has taken nothing. end_of_file: that was all.
  runtime::Task<runtime::Result<std::span<const std::byte>>> read();
  // The same, copied: as many as have come and fit. `into` is not empty.
  runtime::Task<runtime::Result<std::size_t>> read_some(std::span<std::byte> into);
  // All that is left of the body. large_answer: it has more than `bytes_max` bytes.
  runtime::Task<runtime::Result<std::string>> collect(std::size_t bytes_max = 1024 * 1024);
  // Reads the rest and drops it, so that the connection can be kept: at most
  // ClientOptions::discarded_bytes_max bytes.
  runtime::Task<void> discard();

 private:
  friend class HttpClient;
  friend class ClientUpload;
  explicit ClientResponse(detail::ExchangeHandle exchange) noexcept
      : exchange_(std::move(exchange)) {}

  detail::ExchangeHandle exchange_;
  std::span<const std::byte> unread_{};  // of the last piece, by read_some()
};

// A request whose body is written in pieces. Move-only. Destroyed before finish(): the connection
// is closed, and the server sees a request that is cut.
class ClientUpload {
 public:
  // Copies into the send queue, and waits while the server does not read. After an error nothing
  // more is sent. `answered`: the server has answered already; finish() gives the answer.
  runtime::Task<runtime::Result<void>> write(std::span<const std::byte> bytes);
  runtime::Task<runtime::Result<void>> write(std::string_view text) {
    return write(std::as_bytes(std::span{text}));
  }
  // Ends the body and waits for the answer. bad_length: less was written than announced. Once.
  runtime::Task<runtime::Result<ClientResponse>> finish();

 private:
  friend class HttpClient;
  ClientUpload(detail::ExchangeHandle exchange, std::optional<std::uint64_t> bytes) noexcept
      : exchange_(std::move(exchange)), left_(bytes) {}
  runtime::Result<void> stop(runtime::Error why) noexcept;

  detail::ExchangeHandle exchange_;
  std::optional<std::uint64_t> left_;  // nothing: in chunks
  std::optional<runtime::Error> stopped_{};
};

class HttpClient {
 public:
  explicit HttpClient(ClientOptions options = {});
  // No request, answer or upload is left. Kept connections are closed in the background.
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Sends a request and waits for the head of its answer.
  runtime::Task<runtime::Result<ClientResponse>> send(ClientRequest request);
  runtime::Task<runtime::Result<ClientResponse>> get(std::string_view url) {
    return send({.url = url});
  }
  // Sends the head of a request whose body follows in pieces: exactly `body_bytes`, or in chunks.
  // Follows no redirect, and `request.body` is empty.
  runtime::Task<runtime::Result<ClientUpload>> begin(
      ClientRequest request, std::optional<std::uint64_t> body_bytes = std::nullopt);

  // Closes the connections that wait for a next request.
  void close_idle() noexcept;

  struct Counters {
    std::uint64_t requests = 0;     // whose head was sent, redirects and retries included
    std::uint64_t connections = 0;  // that were made
    std::uint64_t reused = 0;       // requests on a kept connection
    std::uint64_t retries = 0;
    std::uint64_t redirects = 0;
  };
  const Counters& counters() const noexcept { return counters_; }
  std::size_t idle_connections() const noexcept;
  std::size_t open_connections() const noexcept;  // idle ones included
  std::size_t waiting() const noexcept;           // for a connection
  const ClientOptions& options() const noexcept { return options_; }

 private:
  friend class detail::ClientPool;
  friend class detail::Exchange;

  detail::ExchangeHandle new_exchange();
  runtime::Result<Url> locate(std::string_view url) const;

  const ClientOptions options_;
  std::optional<Url> base_;
  Counters counters_;
  std::unique_ptr<detail::ClientPool> pool_;
};

}  // namespace corelane::net::http
