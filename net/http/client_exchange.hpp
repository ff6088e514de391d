#pragma once
// Exchange: one request of an HttpClient and its answer, on a connection of its pool. It owns the
// lease, what has been received behind the last byte that was parsed, and the memory of the head;
// the memory goes on to the next exchange.
//
//   begin -> lay_out -> open -> send_head -> send_rest -> read_head -> read_piece ...
//
// Every error and every cancel of a write leaves it broken: its connection closes with it.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "net/http/client.hpp"
#include "net/http/client_pool.hpp"
#include "net/http/response_parser.hpp"
#include "net/received_bytes.hpp"
#include "runtime/result.hpp"
#include "runtime/task.hpp"

namespace corelane::net::http::detail {

using Outcome = runtime::Result<void>;

class Exchange {
 public:
  explicit Exchange(HttpClient& client);

  // --- In this order. All errors are those of client.hpp.

  // For the next request. `deadline`: absolute; it holds for everything that follows.
  void begin(Url url, runtime::Nanoseconds deadline) noexcept;
  // Waits for a connection, kept or new.
  runtime::Task<Outcome> open();
  // Instead of the kept connection that has failed.
  runtime::Task<Outcome> reopen();
  // Writes the head into the memory of the exchange. `body_bytes`: nothing for chunks.
  Outcome lay_out(const ClientRequest& request, std::span<const Field> fields,
                  std::optional<std::uint64_t> body_bytes);
  // Sends the head, and as much of the body as goes with it. Returns the rest of the body.
  runtime::Task<runtime::Result<std::span<const std::byte>>> send_head(
      std::span<const std::byte> body);
  // The head asks for a 100.
  bool expects_continue() const noexcept { return expects_continue_; }
  // Waits for 100, the answer, or the continue_timeout.
  runtime::Task<Outcome> wait_for_continue();
  // The rest of a whole body; less, if the server answers before.
  runtime::Task<Outcome> send_rest(std::span<const std::byte> body);
  // The next part of a body, as a chunk or as it is. False: the server has answered before all of
  // it was sent.
  runtime::Task<runtime::Result<bool>> send_part(std::span<const std::byte> part);
  runtime::Task<runtime::Result<bool>> send_last_chunk();
  // All of the request is in the queue.
  void note_sent() noexcept { is_sent_ = true; }
  // Has the server answered already? Looks at what has come, waits for nothing.
  runtime::Task<bool> look_for_answer();
  runtime::Task<Outcome> read_head();

  // --- The answer

  bool has_head() const noexcept { return has_head_; }
  const Response& response() const noexcept { return parser_.response(); }
  std::optional<std::uint64_t> body_bytes() const noexcept { return body_bytes_; }
  runtime::Task<runtime::Result<std::span<const std::byte>>> read_piece();
  // Drops what is left of the body, within the limit, so that the connection can be kept:
  runtime::Task<void> discard();
  // what has come of it, without waiting.
  void discard_received() noexcept;

  // A kept connection that ended before a byte of an answer.
  bool may_be_retried(const runtime::Error& error) const noexcept;
  const Url& url() const noexcept { return url_; }
  runtime::Nanoseconds left() const noexcept;  // until the deadline, at least 1 ns
  ClientPool& pool() noexcept { return *client_.pool_; }
  bool is_reusable() const noexcept;
  // Gives the connection up; keeps the memory.
  void end() noexcept;

  std::size_t redirects = 0;

 private:
  enum class Step : std::uint8_t { need_more, head, piece, end, failed };

  runtime::Task<Outcome> connect();
  void start_over() noexcept;
  bool is_late() const noexcept;
  runtime::Task<runtime::Result<bool>> write(std::span<const std::byte> bytes);
  runtime::Task<runtime::Result<std::size_t>> write_or_notice(std::span<const std::byte> bytes);
  Step step();
  Step feed(std::span<const std::byte> bytes, std::size_t& used);
  Step on_response(bool has_body) noexcept;
  void finish() noexcept;
  runtime::Error fail(runtime::Error error) noexcept;
  runtime::Error failure() const noexcept;
  runtime::Error on_end(runtime::Error error) noexcept;
  bool stops_here() const noexcept { return stops_at_continue_ && has_continued_; }

  HttpClient& client_;
  ClientPool::Lease lease_;
  ResponseParser parser_;
  ReceivedBytes rest_;          // not parsed yet; holds the last piece, too
  std::vector<std::byte> out_;  // the head of the request, or a chunk's line
  Url url_;
  runtime::Nanoseconds deadline_ = 0;
  std::optional<std::uint64_t> body_bytes_;
  std::size_t interims_ = 0;
  bool answers_head_ = false;
  bool is_chunked_ = false;
  bool expects_continue_ = false;
  bool is_last_ = false;  // the request says Connection: close
  bool is_sent_ = false;
  bool has_begun_ = false;  // a byte of the answer has come
  bool has_head_ = false;
  bool has_continued_ = false;
  bool stops_at_continue_ = false;
  bool is_at_end_ = false;
  std::optional<runtime::Error> error_;  // the connection is gone
};

}  // namespace corelane::net::http::detail
