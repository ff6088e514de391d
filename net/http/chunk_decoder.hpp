#pragma once
// Removes the chunked transfer coding (RFC 9112 section 7.1), strictly: sizes are bare hexadecimal
// digits, every line ends in CRLF, chunk data is followed by CRLF at once, extensions follow their
// grammar. Trailers are checked like header fields, bounded like them, and thrown away.
//
// Our own, because Beast's decoder cannot be fed from a stream: it wants a whole chunk line (and
// the whole trailer) in one buffer, puts no bound on either, and 1.81 fails an assertion when the
// last chunk's line ends exactly where the input does.
//
// Belongs to one parser. Pure code: no I/O, never suspends. Allocates only to grow the body with
// bytes that have come, and to keep a line that the input cut in two.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net/http/limits.hpp"
#include "net/http/status.hpp"

namespace corelane::net::http {

class ChunkDecoder {
 public:
  enum class Verdict : std::uint8_t { need_more, complete, failed };
  struct Progress {
    Verdict verdict;
    std::size_t consumed;  // bytes of the input that belong to this body
  };

  explicit ChunkDecoder(const Limits& limits) noexcept : limits_(limits) {}

  // Appends the data of the chunks in `input` to `body`. After complete or failed, reset() first.
  Progress feed(std::string_view input, std::vector<std::byte>& body);
  // The same without a copy: ends behind the next data of a chunk, which `piece` then shows where
  // it lies in `input`; empty if there is none. Until need_more or more: once more with the rest.
  Progress feed_piece(std::string_view input, std::string_view& piece);
  void reset() noexcept;
  // For the next body, before its first byte: other limits than those of the construction.
  void limit_body(std::uint64_t bytes_max, std::uint64_t discarded_bytes_max) noexcept {
    limits_.body_bytes_max = bytes_max;
    limits_.discarded_bytes_max = discarded_bytes_max;
  }

  Status status() const noexcept { return status_; }  // after Verdict::failed
  // The chunks so far promise more than Limits::body_bytes_max; their data is thrown away.
  bool is_too_large() const noexcept { return body_bytes_ > limits_.body_bytes_max; }
  const char* why() const noexcept { return why_; }  // in words, as HeadCheck's

 private:
  enum class Stage : std::uint8_t { size_line, data, data_cr, data_lf, trailer, complete, failed };

  bool fail(Status status, const char* why) noexcept;
  std::optional<std::string_view> take_line(std::string_view input, std::size_t& at,
                                            std::size_t bytes_max, Status too_long,
                                            const char* why);
  bool on_size_line(std::string_view line) noexcept;
  bool on_trailer_line(std::string_view line) noexcept;

  Limits limits_;
  std::string partial_line_;
  std::uint64_t body_bytes_ = 0;       // promised by the chunk lines so far
  std::uint64_t chunk_remaining_ = 0;  // of the chunk being read
  std::size_t extension_bytes_ = 0;
  std::size_t trailer_bytes_ = 0;
  std::size_t trailer_count_ = 0;
  const char* why_ = "";
  Status status_{};
  Stage stage_ = Stage::size_line;
};

}  // namespace corelane::net::http
