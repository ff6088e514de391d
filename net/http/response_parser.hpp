#pragma once
// ResponseParser: bytes in, one response out, for clients of ours (load program, WebSocket client,
// tests). As strict as RequestParser and built the same way: HeadCheck for the head, ChunkDecoder
// for a chunked body. One parser belongs to one connection. Pure: no I/O, never suspends.
//
// The body is collected, or passed on in pieces as it comes (Bodies::pieces):
//
//   feed() -> head -> body, body, ... -> complete       every piece() lies in the input fed last
//
// An interim response (100) is a response of its own: complete, then reset() and the next. After
// 101 the bytes behind `consumed` belong to the other protocol.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "net/http/chunk_decoder.hpp"
#include "net/http/head_check.hpp"
#include "net/http/head_gatherer.hpp"
#include "net/http/limits.hpp"
#include "net/http/message.hpp"

namespace corelane::net::http {

class ResponseParser {
 public:
  enum class Bodies : std::uint8_t { whole, pieces };
  enum class Event : std::uint8_t {
    need_more,
    head,  // in pieces: response() is there, without its body, which follows
    body,  // in pieces: the next piece() is there
    complete,
    error,
  };
  enum class Failure : std::uint8_t {
    none,
    malformed,       // no strict HTTP/1.1 response
    limit_exceeded,  // a limit was passed
    truncated,       // the stream ended inside the response
  };
  struct Progress {
    Event event;
    std::size_t consumed;  // bytes of the input that belong to this response
  };

  explicit ResponseParser(const Limits& limits = {}, Bodies bodies = Bodies::whole);

  ResponseParser(const ResponseParser&) = delete;
  ResponseParser& operator=(const ResponseParser&) = delete;

  // Any cut of the stream. After `complete`, reset() must come first; after `error`, every call
  // returns `error`.
  Progress feed(std::span<const std::byte> input);
  // The peer closed its end. Completes a body that only this can end (RFC 9112 section 6.3).
  Event feed_end() noexcept;

  // After `complete`: a loan until feed() or reset(), and while the buffer fed last is untouched.
  // In pieces: after `head` or `complete`, until reset(), and it has no body.
  const Response& response() const noexcept { return response_; }
  // In pieces, after `body` and after `complete`, where it may be empty: lies in the input fed
  // last.
  std::span<const std::byte> piece() const noexcept { return piece_; }
  // In pieces, after `head`: how many bytes the body has, if its head says so.
  std::optional<std::uint64_t> announced_bytes() const noexcept {
    if (stage_ != Stage::length_body) return std::nullopt;
    return body_remaining_;
  }
  Failure failure() const noexcept { return failure_; }

  // Prepares for the next response; `answers_head` says that it answers a HEAD request and so has
  // no body whatever its fields say. An error stays.
  void reset(bool answers_head = false) noexcept;

 private:
  enum class Stage : std::uint8_t {
    head,
    length_body,
    chunked_body,
    body_to_end,
    complete,
    failed
  };

  Progress feed_head(std::string_view input);
  Progress feed_body(std::string_view input);
  bool take_head(std::string_view head) noexcept;
  Stage stage_of_body() const noexcept;
  Progress feed_collecting(std::string_view input);
  Progress feed_pieces(std::string_view input);
  Progress complete(std::span<const std::byte> body, std::size_t consumed) noexcept;
  [[gnu::cold]] Progress fail(Status status, std::size_t consumed) noexcept;

  Limits limits_;
  HeadCheck check_;
  ChunkDecoder chunks_;
  Response response_;
  std::vector<Field> fields_;
  HeadGatherer head_;
  std::vector<std::byte> body_;
  std::span<const std::byte> piece_;
  std::uint64_t body_remaining_ = 0;  // of one that only the end ends: how much it may be
  const Bodies bodies_;
  Failure failure_ = Failure::none;
  Stage stage_ = Stage::head;
  bool answers_head_ = false;
};

}  // namespace corelane::net::http
