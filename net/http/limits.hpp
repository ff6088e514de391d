#pragma once
// Limits of one HTTP message. Each limit is enforced before the memory that it protects is
// allocated.

#include <cstddef>
#include <cstdint>

namespace corelane::net::http {

// Reasons that several parsers share, see HeadCheck::why().
inline constexpr const char* kLargeBody = "body larger than limits.http_body_bytes_max";
inline constexpr const char* kLargePieces = "body larger than its route takes";
inline constexpr const char* kUnknownExpectation = "only 100-continue can be expected";

struct Limits {
  // Request or status line without its CRLF; one more byte is 414.
  std::size_t request_line_bytes_max = 4 * 1024;
  // All field lines with their CRLFs, without the empty line that ends them; the trailer section of
  // a chunked body has the same allowance again. One more byte is 431.
  std::size_t header_bytes_max = 8 * 1024;
  // Field lines in the header, and again in the trailer; one more is 431.
  std::size_t fields_max = 64;
  // Content after removing the chunked coding; one more byte is 413.
  std::uint64_t body_bytes_max = 1024 * 1024;
  // How much more of a body is read and thrown away, so that the connection can go on behind its
  // 413. A longer one ends it.
  std::uint64_t discarded_bytes_max = 64 * 1024;
  // One chunk-size line with its extensions and CRLF; longer is 400. No client we know sends any
  // extension: 16 digits and room for a signature of 64 bytes with its name fit well.
  std::size_t chunk_line_bytes_max = 256;
  // Extensions of all chunks of a body together; more is 400. Without it, one-byte chunks with full
  // extensions would make us read 256 bytes for each byte of body.
  std::size_t chunk_extension_bytes_max = 4 * 1024;

  // An upper bound of a head: one tolerated CRLF before it, the request line, the fields, the end.
  constexpr std::size_t head_bytes_max() const noexcept {
    return 2 + request_line_bytes_max + 2 + header_bytes_max + 2;
  }
};

}  // namespace corelane::net::http
