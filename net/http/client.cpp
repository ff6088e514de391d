#include "net/http/client.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>
#include <vector>

#include "net/http/client_exchange.hpp"
#include "net/http/client_pool.hpp"
#include "runtime/core.hpp"

namespace corelane::net::http {

using detail::Exchange;
using detail::ExchangeHandle;
using detail::Outcome;
using runtime::Error;
using runtime::ErrorCode;
using runtime::Nanoseconds;
using runtime::Result;
using runtime::Task;

namespace {

std::string_view describe(ClientFault fault) noexcept {
  switch (fault) {
    case ClientFault::none:
      break;
    case ClientFault::bad_url:
      return "no http:// URL";
    case ClientFault::bad_request:
      return "a method, target or field that cannot be sent";
    case ClientFault::bad_length:
      return "the body has not the length that was announced";
    case ClientFault::no_tls:
      return "https:// needs TLS, which is not supported: use http://, or a proxy that speaks TLS";
    case ClientFault::no_answer:
      return "the server closed the connection without an answer";
    case ClientFault::cut_answer:
      return "the connection ended in the middle of the answer";
    case ClientFault::malformed_answer:
      return "the answer is no HTTP/1.1";
    case ClientFault::bad_redirect:
      return "the server redirects to what is no http:// URL";
    case ClientFault::answered:
      return "the server has answered before the end of the request";
    case ClientFault::large_answer:
      return "the answer is larger than its limit";
    case ClientFault::too_many_redirects:
      return "too many redirects";
    case ClientFault::too_many_waiting:
      return "too many requests wait for a connection";
  }
  return "unknown";
}

// RFC 9110 section 9.2.2.
bool is_idempotent(std::string_view method) noexcept {
  constexpr std::array<std::string_view, 6> kMethods{"GET",    "HEAD",    "PUT",
                                                     "DELETE", "OPTIONS", "TRACE"};
  return std::find(kMethods.begin(), kMethods.end(), method) != kMethods.end();
}

bool is_redirect(Status status) noexcept {
  const auto code = static_cast<unsigned>(status);
  return code == 301 || code == 302 || code == 303 || code == 307 || code == 308;
}

// RFC 9110 section 15.4: what says who asks, for another origin.
bool is_credential(std::string_view name) noexcept {
  return field_name_equal(name, "authorization") || field_name_equal(name, "cookie") ||
         field_name_equal(name, "proxy-authorization");
}

bool is_about_body(std::string_view name) noexcept {
  return field_name_equal(name.substr(0, 8), "content-") || field_name_equal(name, "digest");
}

Nanoseconds deadline_of(const ClientRequest& request, const ClientOptions& options) noexcept {
  const Nanoseconds timeout = request.timeout.value_or(options.request_timeout);
  return runtime::after(runtime::Core::current().now(), timeout);
}

Result<Url> to_be_asked(ParsedUrl parsed, ClientFault fault) {
  if (!parsed.url) {
    const bool is_argument = fault == ClientFault::bad_url;
    return error_of(is_argument ? ErrorCode::invalid_argument : ErrorCode::closed, fault);
  }
  if (parsed.url->is_secure) return error_of(ErrorCode::unsupported, ClientFault::no_tls);
  return std::move(*parsed.url);
}

// What the next request of a redirect is (RFC 9110 section 15.4).
void follow(ClientRequest& request, std::vector<Field>& fields, Status status, const Url& from,
            const Url& to) {
  const auto code = static_cast<unsigned>(status);
  const bool becomes_get = code == 303 ? request.method != "HEAD"
                                       : (code == 301 || code == 302) && request.method == "POST";
  if (becomes_get) {
    request.method = "GET";
    request.body = {};
    request.expect_continue = false;
    std::erase_if(fields, [](const Field& field) { return is_about_body(field.name); });
  }
  if (!to.has_origin_of(from)) {
    std::erase_if(fields, [](const Field& field) { return is_credential(field.name); });
  }
}

// Sends a request with a whole body on a connection that is open, up to the head of the answer.
Task<Outcome> ask(Exchange& exchange, const ClientRequest& request) {
  const bool expects = exchange.expects_continue();
  const auto rest =
      co_await exchange.send_head(expects ? std::span<const std::byte>{} : request.body);
  Outcome sent{};
  if (!rest) {
    sent = rest.error();
  } else if (expects) {
    sent = co_await exchange.wait_for_continue();
    if (sent && !exchange.has_head()) sent = co_await exchange.send_rest(request.body);
  } else {
    sent = co_await exchange.send_rest(*rest);
  }
  // The server may have answered, and closed, before it took all of the body: that tells more.
  const bool has_answered = co_await exchange.look_for_answer();
  if (!sent && !has_answered) co_return sent;
  co_return co_await exchange.read_head();
}

Task<Outcome> ask_again_if_kept(Exchange& exchange, const ClientRequest& request,
                                std::uint64_t& retries) {
  const auto opened = co_await exchange.open();
  if (!opened) co_return opened;
  const auto asked = co_await ask(exchange, request);
  if (asked || !is_idempotent(request.method) || !exchange.may_be_retried(asked.error())) {
    co_return asked;
  }
  ++retries;
  const auto reopened = co_await exchange.reopen();
  if (!reopened) co_return reopened;
  co_return co_await ask(exchange, request);
}

}  // namespace

ClientFault fault_of(const Error& error) noexcept {
  const bool is_ours = error.code != ErrorCode::system &&
                       error.detail >= static_cast<std::int32_t>(ClientFault::bad_url) &&
                       error.detail <= static_cast<std::int32_t>(ClientFault::too_many_waiting);
  return is_ours ? static_cast<ClientFault>(error.detail) : ClientFault::none;
}

std::string describe_client_error(const Error& error) {
  const ClientFault fault = fault_of(error);
  return fault == ClientFault::none ? runtime::describe(error) : std::string(describe(fault));
}

// --- The client

HttpClient::HttpClient(ClientOptions options)
    : options_(std::move(options)), pool_(std::make_unique<detail::ClientPool>(*this)) {
  RT_ASSERT(options_.connections_per_host > 0);
  if (options_.base.empty()) return;
  ParsedUrl parsed = parse_url(options_.base);
  if (!parsed.url) {
    throw std::invalid_argument(fmt::format("{}: {}", options_.base, parsed.problem));
  }
  base_ = std::move(parsed.url);
  std::string& path = base_->target;
  if (path.find('?') != path.npos) {
    throw std::invalid_argument(fmt::format("{}: a base has no query", options_.base));
  }
  if (path.ends_with('/')) path.pop_back();
}

HttpClient::~HttpClient() = default;

void HttpClient::close_idle() noexcept {
  pool_->close_idle();
}
std::size_t HttpClient::idle_connections() const noexcept {
  return pool_->idle();
}
std::size_t HttpClient::open_connections() const noexcept {
  return pool_->open();
}
std::size_t HttpClient::waiting() const noexcept {
  return pool_->waiting();
}

ExchangeHandle HttpClient::new_exchange() {
  auto spare = pool_->take_spare();
  if (spare == nullptr) spare = std::make_unique<Exchange>(*this);
  return ExchangeHandle(spare.release());
}

Result<Url> HttpClient::locate(std::string_view url) const {
  // "//host/" would leave the base, with the fields that are meant for it.
  const bool is_path = base_.has_value() && url.starts_with('/') && !url.starts_with("//");
  if (!is_path) return to_be_asked(parse_url(url), ClientFault::bad_url);
  ParsedUrl parsed = resolve_reference(*base_, url);
  if (parsed.url) parsed.url->target.insert(0, base_->target);
  return to_be_asked(std::move(parsed), ClientFault::bad_url);
}

Task<Result<ClientResponse>> HttpClient::send(ClientRequest request) {
  RT_ASSERT(request.redirects_max <= kRedirectsMax);
  const Nanoseconds deadline = deadline_of(request, options_);
  auto url = locate(request.url);
  if (!url) co_return url.error();
  std::vector<Field> fields;  // of a redirect
  for (std::size_t redirects = 0;; ++redirects) {
    ExchangeHandle exchange = new_exchange();
    exchange->begin(std::move(*url), deadline);
    exchange->redirects = redirects;
    const auto laid_out =
        exchange->lay_out(request, redirects == 0 ? request.fields : fields, request.body.size());
    if (!laid_out) co_return laid_out.error();
    const auto asked = co_await ask_again_if_kept(*exchange, request, counters_.retries);
    if (!asked) co_return asked.error();
    ClientResponse response(std::move(exchange));
    const std::string_view location = response.single("location");
    if (request.redirects_max == 0 || !is_redirect(response.status()) || location.empty()) {
      co_return std::move(response);
    }
    if (redirects == request.redirects_max) {
      co_return error_of(ErrorCode::limit_exceeded, ClientFault::too_many_redirects);
    }
    url = to_be_asked(resolve_reference(response.url(), location), ClientFault::bad_redirect);
    if (!url) co_return url.error();
    // No server may send its clients to a socket of their own host.
    if (url->socket != response.url().socket) {
      co_return error_of(ErrorCode::closed, ClientFault::bad_redirect);
    }
    if (redirects == 0) fields.assign(request.fields.begin(), request.fields.end());
    follow(request, fields, response.status(), response.url(), *url);
    ++counters_.redirects;
    co_await response.discard();
  }
}

Task<Result<ClientUpload>> HttpClient::begin(ClientRequest request,
                                             std::optional<std::uint64_t> body_bytes) {
  RT_ASSERT(request.body.empty());
  const Nanoseconds deadline = deadline_of(request, options_);
  auto url = locate(request.url);
  if (!url) co_return url.error();
  ExchangeHandle exchange = new_exchange();
  exchange->begin(std::move(*url), deadline);
  const auto laid_out = exchange->lay_out(request, request.fields, body_bytes);
  if (!laid_out) co_return laid_out.error();
  const auto opened = co_await exchange->open();
  if (!opened) co_return opened.error();
  const auto sent = co_await exchange->send_head({});
  if (!sent) co_return sent.error();
  if (exchange->expects_continue()) {
    const auto answered = co_await exchange->wait_for_continue();
    if (!answered) co_return answered.error();
  }
  co_return ClientUpload(std::move(exchange), body_bytes);
}

// --- An upload

Result<void> ClientUpload::stop(Error why) noexcept {
  stopped_ = why;
  return why;
}

Task<Result<void>> ClientUpload::write(std::span<const std::byte> bytes) {
  if (stopped_) co_return *stopped_;
  if (left_ && bytes.size() > *left_) {
    co_return error_of(ErrorCode::invalid_argument, ClientFault::bad_length);
  }
  if (bytes.empty()) co_return Result<void>{};  // a chunk of no bytes is the last one
  const bool is_answered = co_await exchange_->look_for_answer();
  if (is_answered) co_return stop(error_of(ErrorCode::closed, ClientFault::answered));
  const auto sent = co_await exchange_->send_part(bytes);
  if (!sent) co_return stop(sent.error());
  if (!*sent) co_return stop(error_of(ErrorCode::closed, ClientFault::answered));
  if (left_) *left_ -= bytes.size();
  co_return Result<void>{};
}

Task<Result<ClientResponse>> ClientUpload::finish() {
  ExchangeHandle exchange = std::move(exchange_);
  RT_ASSERT(exchange != nullptr);
  bool is_answered = co_await exchange->look_for_answer();
  if (!stopped_ && !is_answered) {
    if (left_.value_or(0) != 0) {
      co_return error_of(ErrorCode::invalid_argument, ClientFault::bad_length);
    }
    Result<bool> sent = true;
    if (!left_) sent = co_await exchange->send_last_chunk();
    if (!sent) stopped_ = sent.error();
    if (sent && *sent) exchange->note_sent();
    is_answered = co_await exchange->look_for_answer();
  }
  if (stopped_ && !is_answered) co_return *stopped_;
  const auto head = co_await exchange->read_head();
  if (!head) co_return head.error();
  co_return ClientResponse(std::move(exchange));
}

// --- An answer

Status ClientResponse::status() const noexcept {
  return exchange_->response().status;
}
std::string_view ClientResponse::reason() const noexcept {
  return exchange_->response().reason;
}
std::span<const Field> ClientResponse::fields() const noexcept {
  return exchange_->response().fields;
}
const Url& ClientResponse::url() const noexcept {
  return exchange_->url();
}
std::size_t ClientResponse::redirects() const noexcept {
  return exchange_->redirects;
}
std::optional<std::uint64_t> ClientResponse::body_bytes() const noexcept {
  return exchange_->body_bytes();
}

Task<Result<std::span<const std::byte>>> ClientResponse::read() {
  if (!unread_.empty()) co_return std::exchange(unread_, {});
  co_return co_await exchange_->read_piece();
}

Task<Result<std::size_t>> ClientResponse::read_some(std::span<std::byte> into) {
  RT_ASSERT(!into.empty());
  if (unread_.empty()) {
    const auto piece = co_await exchange_->read_piece();
    if (!piece) co_return piece.error();
    unread_ = *piece;
  }
  const std::size_t bytes = std::min(into.size(), unread_.size());
  std::copy_n(unread_.begin(), bytes, into.begin());
  unread_ = unread_.subspan(bytes);
  co_return bytes;
}

Task<Result<std::string>> ClientResponse::collect(std::size_t bytes_max) {
  std::string text;
  for (;;) {
    const auto piece = co_await read();
    if (!piece && piece.error().code == ErrorCode::end_of_file) co_return std::move(text);
    if (!piece) co_return piece.error();
    if (piece->size() > bytes_max - text.size()) {
      co_return error_of(ErrorCode::limit_exceeded, ClientFault::large_answer);
    }
    text.append(reinterpret_cast<const char*>(piece->data()), piece->size());
  }
}

Task<void> ClientResponse::discard() {
  unread_ = {};
  co_await exchange_->discard();
}

}  // namespace corelane::net::http
