#include "net/http/client_exchange.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "net/http/response.hpp"
#include "runtime/combine.hpp"
#include "runtime/core.hpp"
#include "runtime/timeout.hpp"

namespace corelane::net::http::detail {

using runtime::Error;
using runtime::ErrorCode;
using runtime::Result;
using runtime::Task;

namespace {

// Between two slices of a body the client looks whether the server has answered already.
constexpr std::size_t kSliceBytes = std::size_t{64} * 1024;
// Interim answers to one request; a server that sends more never comes to the point.
constexpr std::size_t kInterimsMax = 16;

runtime::Nanoseconds now() noexcept {
  return runtime::Core::current().now();
}

}  // namespace

Exchange::Exchange(HttpClient& client)
    : client_(client), parser_(client.options_.limits, ResponseParser::Bodies::pieces) {}

void Exchange::begin(Url url, runtime::Nanoseconds deadline) noexcept {
  url_ = std::move(url);
  deadline_ = deadline;
  answers_head_ = false;
  start_over();
}

// What was known of an answer is of another one.
void Exchange::start_over() noexcept {
  parser_.reset(answers_head_);
  rest_.reset();
  body_bytes_.reset();
  error_.reset();
  interims_ = 0;
  is_sent_ = has_begun_ = has_head_ = has_continued_ = is_at_end_ = false;
}

runtime::Nanoseconds Exchange::left() const noexcept {
  if (deadline_ == runtime::kNever) return runtime::kNever;
  return std::max<runtime::Nanoseconds>(deadline_ - now(), 1);
}

// A stream's deadline ends waits. Bytes that are there, and room for more, need none.
bool Exchange::is_late() const noexcept {
  return deadline_ != runtime::kNever && now() >= deadline_;
}

void Exchange::end() noexcept {
  rest_.reset();
  lease_.drop();
  parser_.reset();
}

// --- The connection

Task<Outcome> Exchange::open() {
  auto lease = co_await runtime::with_timeout(left(), client_.pool_->acquire(url_));
  if (!lease) co_return lease.error();
  lease_ = std::move(*lease);
  co_return co_await connect();
}

Task<Outcome> Exchange::reopen() {
  lease_.stream = {};
  co_return co_await connect();
}

Task<Outcome> Exchange::connect() {
  if (lease_.stream) {
    ++client_.counters_.reused;
  } else {
    const auto patience = std::min(left(), client_.options_.connect_timeout);
    const auto made = co_await runtime::with_timeout(patience, lease_.connect(url_));
    if (!made) co_return made.error();
  }
  if (deadline_ != runtime::kNever) lease_.stream.set_deadline(left());
  co_return Outcome{};
}

// --- The request

Outcome Exchange::lay_out(const ClientRequest& request, std::span<const Field> fields,
                          std::optional<std::uint64_t> body_bytes) {
  answers_head_ = request.method == "HEAD";
  is_chunked_ = !body_bytes.has_value();
  // RFC 9110 section 10.1.1: not without content.
  expects_continue_ = request.expect_continue && body_bytes != 0u;
  is_last_ = fields_have_token(fields, "connection", "close");
  out_.clear();
  const RequestOptions options{.method = request.method,
                               .target = url_.target,
                               .host = url_.host,
                               .fields = fields,
                               .chunked = is_chunked_,
                               .expect_continue = expects_continue_};
  if (!write_request_head(out_, options, body_bytes.value_or(0))) {
    return error_of(ErrorCode::invalid_argument, ClientFault::bad_request);
  }
  return {};
}

Task<Result<std::span<const std::byte>>> Exchange::send_head(std::span<const std::byte> body) {
  start_over();
  ++client_.counters_.requests;
  const std::size_t slice = std::min(body.size(), kSliceBytes);
  const std::array<std::span<const std::byte>, 2> parts{out_, body.first(slice)};
  const auto sent = co_await lease_.stream.write_all(parts);
  if (!sent) co_return sent.error();
  co_return body.subspan(slice);
}

Task<Outcome> Exchange::wait_for_continue() {
  stops_at_continue_ = true;
  const auto patience = std::min(left(), client_.options_.continue_timeout);
  const auto answered = co_await runtime::with_timeout(patience, read_head());
  stops_at_continue_ = false;
  // A server may know nothing of it and wait for the body: it is sent then.
  const bool is_silent = !answered && answered.error().code == ErrorCode::timed_out && left() > 1;
  if (is_silent) co_return Outcome{};
  co_return answered;
}

// Writes all of `bytes`, unless the server answers before: then false.
Task<Result<bool>> Exchange::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    if (is_late()) co_return ErrorCode::timed_out;
    const bool is_answered = co_await look_for_answer();
    if (is_answered) co_return false;
    const auto slice = bytes.first(std::min(bytes.size(), kSliceBytes));
    std::size_t taken = lease_.stream.try_write(slice);
    if (taken == 0) {
      const auto waited = co_await write_or_notice(slice);
      if (!waited) co_return waited.error();
      taken = *waited;
    }
    bytes = bytes.subspan(taken);
  }
  co_return true;
}

// The queue is full: waits for room and writes, or, with 0, for the first bytes of an answer. A
// server that refuses a body need not read it.
Task<Result<std::size_t>> Exchange::write_or_notice(std::span<const std::byte> bytes) {
  TcpStream& stream = lease_.stream;
  if (!stream.is_live()) co_return co_await stream.write_some(bytes);
  auto first = co_await runtime::when_any(stream.write_some(bytes), stream.wait_for_more());
  const auto& written = *std::get<0>(first.values);
  const auto& come = *std::get<1>(first.values);
  if (written) co_return *written;
  if (first.index == 0) co_return written.error();
  // The end of what the server sends is no error of writing.
  if (!come && come.error().code != ErrorCode::end_of_file) co_return come.error();
  co_return std::size_t{0};
}

Task<Outcome> Exchange::send_rest(std::span<const std::byte> body) {
  const auto sent = co_await write(body);
  if (!sent) co_return sent.error();
  if (*sent) note_sent();
  co_return Outcome{};
}

Task<Result<bool>> Exchange::send_part(std::span<const std::byte> part) {
  if (!is_chunked_) co_return co_await write(part);
  out_.clear();
  append_chunk_line(out_, part.size());
  constexpr std::string_view kEnd = "\r\n";
  const std::array<std::span<const std::byte>, 3> parts{out_, part, std::as_bytes(std::span{kEnd})};
  for (const std::span<const std::byte> bytes : parts) {
    const auto sent = co_await write(bytes);
    if (!sent) co_return sent.error();
    if (!*sent) co_return false;
  }
  co_return true;
}

Task<Result<bool>> Exchange::send_last_chunk() {
  co_return co_await write(std::as_bytes(std::span{kLastChunk}));
}

// --- The answer

// Parses `bytes` up to the next event.
Exchange::Step Exchange::feed(std::span<const std::byte> bytes, std::size_t& used) {
  const auto progress = parser_.feed(bytes);
  used = progress.consumed;
  switch (progress.event) {
    case ResponseParser::Event::need_more:
      return Step::need_more;
    case ResponseParser::Event::body:
      return Step::piece;
    case ResponseParser::Event::head:
      return on_response(true);
    case ResponseParser::Event::complete:
      return has_head_ ? Step::end : on_response(false);
    case ResponseParser::Event::error:
      return Step::failed;
  }
  return Step::failed;
}

// Parses what has been received, up to the next event.
Exchange::Step Exchange::step() {
  Step step = Step::need_more;
  while (!rest_.empty() && step == Step::need_more && !stops_here()) {
    std::size_t used = 0;
    step = feed(rest_.bytes(), used);
    rest_.remove_prefix(used);
  }
  return step;
}

// need_more: an interim answer, which is dropped (RFC 9110 section 15.2).
Exchange::Step Exchange::on_response(bool has_body) noexcept {
  const auto status = static_cast<unsigned>(response().status);
  if (status >= 200) {
    has_head_ = true;
    body_bytes_ = has_body ? parser_.announced_bytes() : 0;
    is_at_end_ = !has_body;
    return Step::head;
  }
  // No upgrade was asked for.
  if (status == 101 || ++interims_ > kInterimsMax) return Step::failed;
  has_continued_ = has_continued_ || status == 100;
  parser_.reset(answers_head_);
  return Step::need_more;
}

Task<bool> Exchange::look_for_answer() {
  while (!has_head_ && !error_) {
    const Step found = step();
    if (found == Step::head && is_at_end_) finish();
    if (found == Step::failed) fail(failure());
    if (found != Step::need_more) break;
    if (lease_.stream.unread_bytes() == 0) co_return false;
    auto piece = co_await lease_.stream.read_some();
    if (!piece) co_return false;  // it is cancelled: writing will tell
    has_begun_ = true;
    rest_ = std::move(*piece);
  }
  co_return true;
}

Task<Outcome> Exchange::read_head() {
  while (!has_head_) {
    if (error_) co_return *error_;
    const Step found = step();
    if (found == Step::failed) co_return fail(failure());
    if (found == Step::head && is_at_end_) finish();
    if (found == Step::head || stops_here()) break;
    if (is_late()) co_return on_end({ErrorCode::timed_out});
    auto piece = co_await lease_.stream.read_some();
    if (!piece) co_return on_end(piece.error());
    has_begun_ = true;
    rest_ = std::move(*piece);
  }
  co_return Outcome{};
}

Task<Result<std::span<const std::byte>>> Exchange::read_piece() {
  for (;;) {
    if (is_at_end_) co_return runtime::fail(ErrorCode::end_of_file);
    if (error_) co_return *error_;
    if (is_late()) co_return on_end({ErrorCode::timed_out});
    const Step found = step();
    if (found == Step::failed) co_return fail(failure());
    if (found == Step::end) finish();
    const std::span<const std::byte> piece = parser_.piece();
    if (found != Step::need_more && !piece.empty()) co_return piece;
    if (found != Step::need_more) continue;
    auto more = co_await lease_.stream.read_some();
    if (more) {
      rest_ = std::move(*more);
      continue;
    }
    const bool is_whole = more.error().code == ErrorCode::end_of_file &&
                          parser_.feed_end() == ResponseParser::Event::complete;
    if (!is_whole) co_return on_end(more.error());
    finish();
  }
}

Task<void> Exchange::discard() {
  for (std::uint64_t bytes = 0; bytes <= client_.options_.discarded_bytes_max;) {
    const auto piece = co_await read_piece();
    if (!piece) co_return;
    bytes += piece->size();
  }
  fail(error_of(ErrorCode::closed, ClientFault::cut_answer));
}

void Exchange::discard_received() noexcept {
  if (!has_head_ || is_at_end_ || error_) return;
  std::uint64_t bytes = 0;
  for (Step found = step();;) {
    if (found != Step::need_more) bytes += parser_.piece().size();
    if (bytes > client_.options_.discarded_bytes_max || found == Step::failed) return;
    if (found == Step::end) return finish();
    if (!rest_.empty()) {
      found = step();
      continue;
    }
    const std::span<const std::byte> input = lease_.stream.unread();
    if (input.empty()) return;
    std::size_t used = 0;
    found = feed(input, used);
    lease_.stream.consume(used);
  }
}

// The connection carries another request only behind a whole one and its whole answer.
void Exchange::finish() noexcept {
  is_at_end_ = true;
  if (is_sent_ && !is_last_ && response().keep_alive && rest_.empty()) {
    lease_.keep();
  } else {
    lease_.close();
  }
}

Error Exchange::fail(Error error) noexcept {
  error_ = error;
  lease_.drop();
  return error;
}

Error Exchange::failure() const noexcept {
  switch (parser_.failure()) {
    case ResponseParser::Failure::limit_exceeded:
      return error_of(ErrorCode::limit_exceeded, ClientFault::large_answer);
    case ResponseParser::Failure::truncated:
      return error_of(ErrorCode::closed, ClientFault::cut_answer);
    case ResponseParser::Failure::malformed:
    case ResponseParser::Failure::none:
      break;
  }
  return error_of(ErrorCode::closed, ClientFault::malformed_answer);
}

// Reading has failed. What is cancelled may go on; a connection that has failed is not dropped, for
// its place is needed to try again.
Error Exchange::on_end(Error error) noexcept {
  if (error.code == ErrorCode::end_of_file) {
    error =
        error_of(ErrorCode::closed, has_begun_ ? ClientFault::cut_answer : ClientFault::no_answer);
  }
  if (error.code != ErrorCode::cancelled) error_ = error;
  return error;
}

bool Exchange::may_be_retried(const Error& error) const noexcept {
  const bool is_ended = error.code == ErrorCode::system || error.code == ErrorCode::closed;
  return lease_ && lease_.is_kept && !has_begun_ && is_ended;
}

bool Exchange::is_reusable() const noexcept {
  return parser_.failure() == ResponseParser::Failure::none;
}

void ExchangeEnd::operator()(Exchange* exchange) const noexcept {
  exchange->discard_received();
  exchange->end();
  std::unique_ptr<Exchange> owned(exchange);
  if (exchange->is_reusable()) exchange->pool().keep_spare(std::move(owned));
}

}  // namespace corelane::net::http::detail
