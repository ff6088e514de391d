#pragma once
// RequestParser: bytes in, one request out; then reset() and the next one (RFC 9112). The interface
// between a connection, which feeds it what it received, and the code that serves the request.
//
// One parser belongs to one connection in HTTP mode and lives on the heap; it is used again for
// each request of that connection. The head is read by HeadCheck, a chunked body by
// ChunkDecoder. Pure: no I/O, never suspends.
//
//   one buffer:   [GET ... CRLF CRLF][body]   views into the caller's buffer, nothing is copied
//   cut anywhere: [GET ...] [... CRLF CRLF] [bo] [dy]
//                 the head is gathered in head_, the body in body_; both grow with bytes that came,
//                 never with what the peer announced

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "net/http/chunk_decoder.hpp"
#include "net/http/head_check.hpp"
#include "net/http/head_gatherer.hpp"
#include "net/http/limits.hpp"
#include "net/http/message.hpp"

namespace corelane::net::http {

class RequestParser {
 public:
  enum class Event : std::uint8_t {
    need_more,        // all of the input is consumed, the request is not whole yet
    expect_continue,  // request() has all but the body, which the client sends after our 100
    body_follows,     // the same if pieces_bytes_max is not 0: take_body() or begin_pieces()
    complete,         // request() is ready
    refused,          // the same, without its body, and status() says why it cannot be served
    error,            // status() is ready; nothing is parsed any more, for good
  };
  struct Progress {
    Event event;
    std::size_t consumed;  // bytes of the input that belong to this request
  };

  // `pieces_bytes_max`: the largest body that anybody reads in pieces. If it is not 0, feed() stops
  // in front of each body with `body_follows`, so that its reader can be chosen by its head.
  explicit RequestParser(const Limits& limits = {}, std::uint64_t pieces_bytes_max = 0);

  RequestParser(const RequestParser&) = delete;
  RequestParser& operator=(const RequestParser&) = delete;

  // Takes any cut of the stream, also nothing. After `complete` and `refused`, reset() must come
  // first, and the rest of the input (from `consumed` on) is the beginning of the next request.
  // After `error` every call returns `error` with 0 consumed.
  //
  // Statuses of `error`: 400 malformed, 413 body, 414 request line, 431 header, 505 version; of
  // `refused`: 413 a body that was read to its end all the same, 417 unknown expectation. They
  // depend on the bytes only, not on how they were cut.
  Progress feed(std::span<const std::byte> input);

  // After `body_follows`, one of two. The body becomes a part of the request, within
  // Limits::body_bytes_max: goes on like feed(), with what follows the head.
  Progress take_body(std::span<const std::byte> input);
  // Or it is read by feed_piece(), up to `bytes_max`. False: 413, as after `error`.
  bool begin_pieces(std::uint64_t bytes_max) noexcept;
  // Appends the data of the body in `input` to `data`, not more than `input` has: `need_more`, or
  // `complete` behind its last byte. `error` as with feed().
  Progress feed_piece(std::span<const std::byte> input, std::vector<std::byte>& data);
  // After `expect_continue` or `refused`: the client sends the body after our 100; it expects
  // something unknown (417).
  bool expects_continue() const noexcept { return check_.facts().expect_continue; }
  bool expects_unknown() const noexcept { return check_.facts().expects_unknown; }

  // The request, after `complete`; after `expect_continue` and `refused` all of it but the body. A
  // loan until feed() or reset(), and while the buffer that was fed last is untouched.
  const Request& request() const noexcept { return request_; }

  // The status to answer after `error` and `refused`. Never 408: the connection, not the parser,
  // keeps the time.
  Status status() const noexcept { return status_; }
  const char* why() const noexcept { return why_; }  // in words, as HeadCheck's

  // Ends the request and prepares for the next; gives big buffers back. An error stays.
  void reset() noexcept;

  // Memory of a head and a body that do not lie in the input.
  std::size_t held_bytes() const noexcept { return head_.memory_bytes() + body_.capacity(); }
  // Gives it back; nothing is parsed any more.
  void release() noexcept;

  // No byte of a request has come since reset(), but for an empty line: an idle deadline applies.
  bool is_idle() const noexcept;
  // A request has begun and is not complete.
  bool is_reading() const noexcept { return (stage_ == Stage::head && !is_idle()) || is_in_body(); }
  // The head has been read and the body has not: the header deadline is over.
  bool is_in_body() const noexcept {
    return stage_ == Stage::length_body || stage_ == Stage::chunked_body;
  }

 private:
  enum class Stage : std::uint8_t {
    head,
    before_body,
    length_body,
    chunked_body,
    complete,
    failed
  };

  Progress feed_head(std::string_view input);
  Progress begin_body(std::string_view input);
  Progress feed_body(std::string_view input);
  Progress feed_length_body(std::string_view input);
  Event finish(std::span<const std::byte> body) noexcept;
  bool take_head(std::string_view head) noexcept;
  [[gnu::cold]] Progress fail(Status status, const char* why, std::size_t consumed) noexcept;

  Limits limits_;
  HeadCheck check_;
  ChunkDecoder chunks_;
  Request request_;
  std::vector<Field> fields_;
  HeadGatherer head_;
  std::vector<std::byte> body_;
  std::uint64_t body_remaining_ = 0;
  const char* why_ = "";
  Status status_{};
  Stage stage_ = Stage::head;
  const bool stops_at_bodies_;
};

}  // namespace corelane::net::http
