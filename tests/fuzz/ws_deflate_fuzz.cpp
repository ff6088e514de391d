// Goal: no offer and no compressed bytes make permessage-deflate crash, pass its bound, or agree to
// what it cannot keep; what is deflated is inflated again. Method: the first byte picks one of the
// three and its settings.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "ws/deflate.hpp"

namespace corelane {
namespace {

void demand(bool holds) {
  if (!holds) std::abort();
}

void negotiate(std::string_view line, unsigned options) {
  const ws::DeflatePolicy policy{
      .is_enabled = true,
      .server_no_context_takeover = (options & 1) != 0,
      .client_no_context_takeover = (options & 2) != 0,
      .server_window_bits_max = (options & 4) != 0 ? std::uint8_t{10} : std::uint8_t{15},
      .client_window_bits_max = (options & 8) != 0 ? std::uint8_t{11} : std::uint8_t{15}};
  ws::DeflateOffers offers{policy};
  static_cast<void>(ws::read_deflate_answer(line, policy));
  if (!offers.read_line(line) || !offers.accepted()) return;
  const ws::DeflateParameters agreed = *offers.accepted();
  demand(agreed.server_window_bits >= ws::kDeflateWindowBitsMin);
  demand(agreed.server_window_bits <= policy.server_window_bits_max);
  demand(agreed.client_window_bits >= ws::kWindowBitsMin);
  demand(agreed.client_window_bits <= ws::kWindowBitsMax);
  demand(agreed.server_no_context_takeover || !policy.server_no_context_takeover);
  // A client that asked for anything can read the answer.
  std::string answer;
  ws::write_deflate_answer(answer, agreed);
  const bool is_narrow = agreed.client_window_bits < ws::kDeflateWindowBitsMin;
  demand(is_narrow || ws::read_deflate_answer(answer, {.is_enabled = true}).has_value());
}

void inflate(std::span<const std::byte> bytes, unsigned options) {
  const std::size_t limit = (options & 1) != 0 ? 100 : 70000;
  ws::Inflater inflater{(options & 2) != 0 ? std::uint8_t{8} : std::uint8_t{15},
                        (options & 4) != 0};
  // Two halves are two messages of one stream.
  const std::size_t half = (options & 8) != 0 ? bytes.size() / 2 : 0;
  for (const auto message : {bytes.first(half), bytes.subspan(half)}) {
    const ws::InflateStatus status = inflater.inflate(message, limit);
    demand(inflater.output().size() <= limit);
    demand(inflater.output().capacity() <= limit + (std::size_t{64} << 10));
    if (status != ws::InflateStatus::ok) return;
  }
}

void round_trip(std::span<const std::byte> bytes, unsigned options) {
  const auto bits = static_cast<std::uint8_t>(9 + options % 7);
  const bool no_takeover = (options & 8) != 0;
  ws::Deflater deflater{bits, no_takeover, 1, 1};
  ws::Inflater inflater{bits, no_takeover};
  const std::size_t third = bytes.size() / 3;
  for (const auto message : {bytes.first(third), bytes.subspan(third), bytes.first(third)}) {
    ws::OwnedBytes compressed;
    deflater.deflate(message, compressed);
    demand(inflater.inflate(compressed.bytes(), message.size()) == ws::InflateStatus::ok);
    const auto result = inflater.output().bytes();
    demand(result.size() == message.size());
    demand(message.empty() || std::memcmp(result.data(), message.data(), message.size()) == 0);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::span bytes{reinterpret_cast<const std::byte*>(data) + 1, size - 1};
  const unsigned options = data[0] / 4U;
  switch (data[0] % 4) {
    case 0:
      negotiate({reinterpret_cast<const char*>(data) + 1, size - 1}, options);
      break;
    case 1:
      round_trip(bytes, options);
      break;
    default:
      inflate(bytes, options);
      break;
  }
  return 0;
}

}  // namespace corelane
