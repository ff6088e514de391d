#include "ws/deflate.hpp"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <limits>

#include "runtime/assert.hpp"
#include "ws/header_list.hpp"

namespace corelane::ws {
namespace {

constexpr std::string_view kName = "permessage-deflate";
constexpr std::string_view kServerNoTakeover = "server_no_context_takeover";
constexpr std::string_view kClientNoTakeover = "client_no_context_takeover";
constexpr std::string_view kServerBits = "server_max_window_bits";
constexpr std::string_view kClientBits = "client_max_window_bits";

// A sync flush ends with an empty stored block; these bytes of it do not travel.
constexpr std::array<std::byte, 4> kTail = {std::byte{0}, std::byte{0}, std::byte{0xFF},
                                            std::byte{0xFF}};

// 8..15 in decimal without leading zeros, else 0.
std::uint8_t parse_window_bits(const ExtensionParameter& parameter) noexcept {
  const std::string_view text = parameter.value;
  if (text.size() == 1 && (text[0] == '8' || text[0] == '9')) {
    return static_cast<std::uint8_t>(text[0] - '0');
  }
  if (text.size() == 2 && text[0] == '1' && text[1] >= '0' && text[1] <= '5') {
    return static_cast<std::uint8_t>(10 + (text[1] - '0'));
  }
  return 0;
}

enum class Parameter : std::uint8_t {
  server_no_takeover = 1,
  client_no_takeover = 2,
  server_bits = 4,
  client_bits = 8,
  unknown = 16,
};

Parameter parameter_named(std::string_view name) noexcept {
  if (equal_without_case(name, kServerNoTakeover)) return Parameter::server_no_takeover;
  if (equal_without_case(name, kClientNoTakeover)) return Parameter::client_no_takeover;
  if (equal_without_case(name, kServerBits)) return Parameter::server_bits;
  if (equal_without_case(name, kClientBits)) return Parameter::client_bits;
  return Parameter::unknown;
}

// Notes a parameter in `seen`; false if it is unknown or there twice.
bool is_new_parameter(Parameter parameter, std::uint8_t& seen) noexcept {
  const auto bit = static_cast<std::uint8_t>(parameter);
  if (parameter == Parameter::unknown || (seen & bit) != 0) return false;
  seen = static_cast<std::uint8_t>(seen | bit);
  return true;
}

void append_bits(std::string& to, std::string_view name, std::uint8_t bits) {
  to.append("; ").append(name).append("=").append(std::to_string(bits));
}

}  // namespace

bool DeflateOffers::read_line(std::string_view value) {
  return visit_extensions(value, *this);
}

void DeflateOffers::begin(std::string_view name) noexcept {
  is_acceptable_ = policy_.is_enabled && !accepted_ && equal_without_case(name, kName);
  seen_ = 0;
  current_ = {.server_no_context_takeover = policy_.server_no_context_takeover,
              .client_no_context_takeover = policy_.client_no_context_takeover,
              .server_window_bits = policy_.server_window_bits_max,
              .client_window_bits = kWindowBitsMax,
              .state_server_window_bits = policy_.server_window_bits_max < kWindowBitsMax};
}

void DeflateOffers::parameter(const ExtensionParameter& parameter) noexcept {
  if (!is_acceptable_) return;
  const Parameter which = parameter_named(parameter.name);
  is_acceptable_ = is_new_parameter(which, seen_);
  if (!is_acceptable_) return;
  const std::uint8_t bits = parameter.has_value ? parse_window_bits(parameter) : 0;
  switch (which) {
    case Parameter::server_no_takeover:
      current_.server_no_context_takeover = true;
      is_acceptable_ = !parameter.has_value;
      break;
    case Parameter::client_no_takeover:
      current_.client_no_context_takeover = true;
      is_acceptable_ = !parameter.has_value;
      break;
    case Parameter::server_bits:
      current_.server_window_bits = std::min(bits, policy_.server_window_bits_max);
      current_.state_server_window_bits = true;
      is_acceptable_ = bits >= kDeflateWindowBitsMin;
      break;
    case Parameter::client_bits:
      current_.client_window_bits =
          std::min(bits == 0 ? kWindowBitsMax : bits, policy_.client_window_bits_max);
      current_.state_client_window_bits = current_.client_window_bits < kWindowBitsMax;
      is_acceptable_ = !parameter.has_value || bits != 0;
      break;
    case Parameter::unknown:
      break;
  }
}

void DeflateOffers::end() noexcept {
  if (is_acceptable_) accepted_ = current_;
}

void write_deflate_answer(std::string& to, const DeflateParameters& parameters) {
  to.append(kName);
  if (parameters.server_no_context_takeover) to.append("; ").append(kServerNoTakeover);
  if (parameters.client_no_context_takeover) to.append("; ").append(kClientNoTakeover);
  if (parameters.state_server_window_bits) {
    append_bits(to, kServerBits, parameters.server_window_bits);
  }
  if (parameters.state_client_window_bits) {
    append_bits(to, kClientBits, parameters.client_window_bits);
  }
}

void write_deflate_offer(std::string& to, const DeflatePolicy& policy) {
  to.append(kName);
  if (policy.server_no_context_takeover) to.append("; ").append(kServerNoTakeover);
  if (policy.client_no_context_takeover) to.append("; ").append(kClientNoTakeover);
  if (policy.server_window_bits_max < kWindowBitsMax) {
    append_bits(to, kServerBits, policy.server_window_bits_max);
  }
  if (policy.client_window_bits_max < kWindowBitsMax) {
    append_bits(to, kClientBits, policy.client_window_bits_max);
  } else {
    to.append("; ").append(kClientBits);
  }
}

namespace {

// The visitor for a server's answer.
struct AnswerReader {
  const DeflatePolicy& policy;
  DeflateParameters found{};
  std::uint8_t seen = 0;
  int extensions = 0;
  bool is_valid = true;

  void begin(std::string_view name) noexcept {
    ++extensions;
    is_valid = is_valid && extensions == 1 && equal_without_case(name, kName);
    found.client_no_context_takeover = policy.client_no_context_takeover;
    found.client_window_bits = policy.client_window_bits_max;
  }
  void parameter(const ExtensionParameter& parameter) noexcept {
    const Parameter which = parameter_named(parameter.name);
    is_valid = is_valid && is_new_parameter(which, seen);
    const std::uint8_t bits = parameter.has_value ? parse_window_bits(parameter) : 0;
    switch (which) {
      case Parameter::server_no_takeover:
        found.server_no_context_takeover = true;
        is_valid = is_valid && !parameter.has_value;
        break;
      case Parameter::client_no_takeover:
        found.client_no_context_takeover = true;
        is_valid = is_valid && !parameter.has_value;
        break;
      case Parameter::server_bits:
        found.server_window_bits = bits;
        found.state_server_window_bits = true;
        is_valid = is_valid && bits != 0 && bits <= policy.server_window_bits_max;
        break;
      case Parameter::client_bits:
        found.client_window_bits = std::min(bits, policy.client_window_bits_max);
        found.state_client_window_bits = true;
        is_valid = is_valid && bits >= kDeflateWindowBitsMin;
        break;
      case Parameter::unknown:
        break;
    }
  }
  void end() noexcept {
    // Parameters that we asked for must be granted (sections 7.1.1.1 and 7.1.2.1).
    if (policy.server_no_context_takeover && !found.server_no_context_takeover) is_valid = false;
    if (policy.server_window_bits_max < kWindowBitsMax && !found.state_server_window_bits) {
      is_valid = false;
    }
  }
};

}  // namespace

std::optional<DeflateParameters> read_deflate_answer(std::string_view value,
                                                     const DeflatePolicy& policy) {
  AnswerReader reader{.policy = policy};
  if (!policy.is_enabled || !visit_extensions(value, reader)) return std::nullopt;
  if (!reader.is_valid || reader.extensions != 1) return std::nullopt;
  return reader.found;
}

// zlib keeps a pointer to its z_stream, so the stream stays where it was made.
struct Deflater::Stream {
  z_stream z{};
  bool resets_after_message = false;
  ~Stream() { deflateEnd(&z); }
};

Deflater::Deflater(std::uint8_t window_bits, bool no_context_takeover, int level, int memory_level)
    : stream_(std::make_unique<Stream>()) {
  RT_ASSERT(window_bits >= kDeflateWindowBitsMin);
  RT_ASSERT(window_bits <= kWindowBitsMax);
  stream_->resets_after_message = no_context_takeover;
  const int status = deflateInit2(&stream_->z, level, Z_DEFLATED, -int{window_bits}, memory_level,
                                  Z_DEFAULT_STRATEGY);
  RT_ASSERT(status == Z_OK);
}
Deflater::Deflater(Deflater&&) noexcept = default;
Deflater& Deflater::operator=(Deflater&&) noexcept = default;
Deflater::~Deflater() = default;

void Deflater::deflate(std::span<const std::byte> message, OwnedBytes& to) {
  if (message.empty()) {
    // zlib writes nothing for a second flush without input; an empty stored block minus its tail is
    // one zero byte, and the stream is at a byte boundary after every message.
    *to.grow(1) = std::byte{0};
    return;
  }
  RT_ASSERT(message.size() <= std::numeric_limits<uInt>::max());
  z_stream& z = stream_->z;
  z.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(message.data()));
  z.avail_in = static_cast<uInt>(message.size());
  // Room for half is guessed first: most messages that are worth compressing fit.
  std::size_t wanted = std::max<std::size_t>(message.size() / 2, OwnedBytes::kCapacityMin / 2);
  while (true) {
    std::byte* const at = to.grow(wanted);
    z.next_out = reinterpret_cast<Bytef*>(at);
    z.avail_out = static_cast<uInt>(wanted);
    const int status = ::deflate(&z, Z_SYNC_FLUSH);
    RT_ASSERT(status == Z_OK || status == Z_BUF_ERROR);
    const std::size_t unused = z.avail_out;
    to.truncate(to.size() - unused);
    if (unused > 0) break;
  }
  RT_ASSERT(z.avail_in == 0);
  RT_ASSERT(to.size() >= kTail.size());
  to.truncate(to.size() - kTail.size());
  if (stream_->resets_after_message) deflateReset(&z);
}

struct Inflater::Stream {
  z_stream z{};
  bool resets_after_message = false;
  bool is_between_blocks = false;
  std::uint8_t final_blocks = 0;  // in the current message
  ~Stream() { inflateEnd(&z); }
};

Inflater::Inflater(std::uint8_t window_bits, bool no_context_takeover)
    : stream_(std::make_unique<Stream>()) {
  RT_ASSERT(window_bits >= kWindowBitsMin);
  RT_ASSERT(window_bits <= kWindowBitsMax);
  stream_->resets_after_message = no_context_takeover;
  const int status = inflateInit2(&stream_->z, -int{window_bits});
  RT_ASSERT(status == Z_OK);
}
Inflater::Inflater(Inflater&&) noexcept = default;
Inflater& Inflater::operator=(Inflater&&) noexcept = default;
Inflater::~Inflater() = default;

InflateStatus Inflater::inflate(std::span<const std::byte> compressed, std::size_t bytes_max) {
  output_.reset();
  // Three times the input is a common size; a bomb starts as small as everybody else.
  constexpr std::size_t kFirstGuessMax = std::size_t{64} << 10;
  output_.reserve(
      std::min(std::max(compressed.size() * 3, OwnedBytes::kCapacityMin), kFirstGuessMax));
  // A frame without payload is not what section 7.2.1 makes of an empty message, but it has only
  // one meaning, and no bit of the stream is touched.
  if (compressed.empty()) return InflateStatus::ok;
  stream_->final_blocks = 0;
  stream_->is_between_blocks = false;
  InflateStatus status = feed(compressed, bytes_max);
  // A final block that ends with the message needs no tail, with or without the zero byte that
  // section 7.2.3.4 puts behind it.
  const bool needs_tail = !stream_->is_between_blocks || stream_->final_blocks == 0;
  if (status == InflateStatus::ok && needs_tail) status = feed(kTail, bytes_max);
  if (status == InflateStatus::ok && !stream_->is_between_blocks) status = InflateStatus::invalid;
  if (stream_->resets_after_message || status != InflateStatus::ok) inflateReset(&stream_->z);
  return status;
}

// One call of zlib, into what is left of the output or, at the limit, into a byte that only shows
// whether there would be more. Returns zlib's status, or Z_NEED_DICT, which raw streams do not
// have, if there would.
int Inflater::step(std::size_t bytes_max) {
  z_stream& z = stream_->z;
  if (output_.size() == bytes_max) {
    Bytef beyond = 0;
    z.next_out = &beyond;
    z.avail_out = 1;
    const int status = ::inflate(&z, Z_SYNC_FLUSH);
    return z.avail_out == 0 ? Z_NEED_DICT : status;
  }
  if (output_.size() == output_.capacity()) {
    output_.reserve(std::min(output_.capacity() * 2, bytes_max));
  }
  const std::size_t spare = std::min(output_.capacity(), bytes_max) - output_.size();
  z.next_out = reinterpret_cast<Bytef*>(output_.grow(spare));
  z.avail_out = static_cast<uInt>(spare);
  const int status = ::inflate(&z, Z_SYNC_FLUSH);
  output_.truncate(output_.size() - z.avail_out);
  return status;
}

InflateStatus Inflater::feed(std::span<const std::byte> compressed, std::size_t bytes_max) {
  RT_ASSERT(compressed.size() <= std::numeric_limits<uInt>::max());
  RT_ASSERT(bytes_max <= std::numeric_limits<uInt>::max());
  z_stream& z = stream_->z;
  z.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(compressed.data()));
  z.avail_in = static_cast<uInt>(compressed.size());
  while (true) {
    const int status = step(bytes_max);
    if (status == Z_NEED_DICT) return InflateStatus::too_big;
    if (status == Z_STREAM_END) {
      if (!continue_after_final_block()) return InflateStatus::invalid;
      stream_->is_between_blocks = true;
      if (z.avail_in == 0) return InflateStatus::ok;
      continue;
    }
    // Z_BUF_ERROR: no progress was possible, which is no error if the input is used up.
    if (status != Z_OK && status != Z_BUF_ERROR) return InflateStatus::invalid;
    // Bit 128: zlib stands between two blocks. A message that ends elsewhere was cut.
    stream_->is_between_blocks = (z.data_type & 128) != 0;
    if (z.avail_in == 0 && z.avail_out > 0) return InflateStatus::ok;
  }
}

// A block with BFINAL ends zlib's stream but not the message (RFC 7692 section 7.2.3.4), and later
// blocks may refer back across it: the window is carried over by hand. That copies 32 KiB, so a
// message may do it only a few times; no compressor does it more than once.
bool Inflater::continue_after_final_block() {
  constexpr std::uint8_t kFinalBlocksMax = 8;
  if (++stream_->final_blocks > kFinalBlocksMax) return false;
  z_stream& z = stream_->z;
  std::array<Bytef, std::size_t{1} << kWindowBitsMax> window;
  uInt window_bytes = static_cast<uInt>(window.size());
  if (inflateGetDictionary(&z, window.data(), &window_bytes) != Z_OK) return false;
  if (inflateReset(&z) != Z_OK) return false;
  return window_bytes == 0 || inflateSetDictionary(&z, window.data(), window_bytes) == Z_OK;
}

}  // namespace corelane::ws
