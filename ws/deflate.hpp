#pragma once
// permessage-deflate (RFC 7692) on zlib: negotiation, and the two directions of compression. Pure
// code, never suspends. A Deflater or Inflater belongs to one core. With context takeover it
// belongs to one connection for its life; without, one of each serves all connections of a core,
// since no message leaves anything behind.
//
// Window sizes are negotiated honestly: zlib's raw deflate cannot write with a window of 2^8, so a
// peer that asks for it is declined rather than told yes and sent more.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "ws/owned_bytes.hpp"

namespace corelane::ws {

struct ExtensionParameter;

inline constexpr std::uint8_t kWindowBitsMin = 8;
inline constexpr std::uint8_t kWindowBitsMax = 15;
inline constexpr std::uint8_t kDeflateWindowBitsMin = 9;  // what zlib can write

// The parameters that both ends agreed on.
struct DeflateParameters {
  bool server_no_context_takeover = false;
  bool client_no_context_takeover = false;
  std::uint8_t server_window_bits = kWindowBitsMax;
  std::uint8_t client_window_bits = kWindowBitsMax;
  bool state_server_window_bits = false;  // the answer must name it
  bool state_client_window_bits = false;
  friend bool operator==(const DeflateParameters&, const DeflateParameters&) = default;
};

// The parameters that an endpoint accepts.
struct DeflatePolicy {
  bool is_enabled = false;
  bool server_no_context_takeover = false;
  bool client_no_context_takeover = false;
  std::uint8_t server_window_bits_max = kWindowBitsMax;  // 9..15
  // 8..15, for a client of ours 9..15. Clients that do not let the server set it keep 15 (RFC 7692
  // section 7.1.2.2).
  std::uint8_t client_window_bits_max = kWindowBitsMax;
  int level = 1;         // 1..9; 1 costs a third of 6 and loses about a tenth of its gain
  int memory_level = 8;  // 1..9, of zlib
};

// The server's choice among a client's offers. Feed every Sec-WebSocket-Extensions line in order;
// the first acceptable offer wins. Linear in the text.
class DeflateOffers {
 public:
  explicit DeflateOffers(const DeflatePolicy& policy) noexcept : policy_(policy) {}
  // False if the line breaks the grammar of RFC 6455 section 9.1.
  bool read_line(std::string_view value);
  // Empty: go on without compression.
  const std::optional<DeflateParameters>& accepted() const noexcept { return accepted_; }

  // The visitor of visit_extensions().
  void begin(std::string_view name) noexcept;
  void parameter(const ExtensionParameter& parameter) noexcept;
  void end() noexcept;

 private:
  DeflatePolicy policy_;
  std::optional<DeflateParameters> accepted_;
  DeflateParameters current_;
  bool is_acceptable_ = false;
  std::uint8_t seen_ = 0;  // one bit a known parameter
};

// Appends the value of the server's Sec-WebSocket-Extensions field.
void write_deflate_answer(std::string& to, const DeflateParameters& parameters);

// Appends the value of a client's field for what `policy` wants; client_max_window_bits is always
// allowed to the server.
void write_deflate_offer(std::string& to, const DeflatePolicy& policy);

// The client's reading of the server's answer, given the offer that write_deflate_offer() made.
// Empty if it is not an answer to that offer that zlib can honour: then the connection must be
// failed (RFC 7692 section 7.1).
std::optional<DeflateParameters> read_deflate_answer(std::string_view value,
                                                     const DeflatePolicy& policy);

class Deflater {
 public:
  // window_bits 9..15. Running out of memory aborts.
  Deflater(std::uint8_t window_bits, bool no_context_takeover, int level = 1, int memory_level = 8);
  Deflater(Deflater&&) noexcept;
  Deflater& operator=(Deflater&&) noexcept;
  ~Deflater();

  // Appends one message, compressed and without the four closing bytes (RFC 7692 section 7.2.1).
  // It is to be sent with RSV1, whole: with takeover the peer must see every byte.
  void deflate(std::span<const std::byte> message, OwnedBytes& to);

 private:
  struct Stream;
  std::unique_ptr<Stream> stream_;
};

enum class InflateStatus : std::uint8_t {
  ok,
  too_big,  // close with 1009
  invalid,  // not deflate data, or not a whole message: close with 1007
};

class Inflater {
 public:
  // window_bits 8..15: of the peer's direction.
  Inflater(std::uint8_t window_bits, bool no_context_takeover);
  Inflater(Inflater&&) noexcept;
  Inflater& operator=(Inflater&&) noexcept;
  ~Inflater();

  // Inflates one message of at most `bytes_max` bytes into output(), which it replaces. The bound
  // holds while it runs: no byte past it is stored, and the capacity of output() stays below it
  // plus 64 KiB (twice of it below 64 KiB). After anything but `ok` a stream with takeover cannot
  // go on.
  InflateStatus inflate(std::span<const std::byte> compressed, std::size_t bytes_max);

  // The last message; may be moved from or reset at any time.
  OwnedBytes& output() noexcept { return output_; }

 private:
  struct Stream;
  InflateStatus feed(std::span<const std::byte> compressed, std::size_t bytes_max);
  int step(std::size_t bytes_max);
  bool continue_after_final_block();

  std::unique_ptr<Stream> stream_;
  OwnedBytes output_;
};

}  // namespace corelane::ws
