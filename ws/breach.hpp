#pragma once
// Every rule and limit of the incoming side that a peer can break, with its close code and the
// reason that the close frame gives. The texts are listed in README.md, since people search for
// them; a limit is named as in the configuration, with its value.

#include <cstdint>
#include <string>

#include "ws/close_code.hpp"

namespace corelane::ws {

struct ReaderLimits;

enum class Breach : std::uint8_t {
  none,
  // 1002: the frame itself. What follows cannot be told apart any more.
  reserved_bits,
  unknown_opcode,
  unmasked,
  masked,
  fragmented_control,
  large_control,
  nothing_to_continue,
  unfinished_before,
  long_length_form,
  impossible_length,
  close_of_one_byte,
  close_code,
  close_reason,  // 1007
  // 1007 and 1009: the frames around it are in order.
  text,
  compressed_data,
  message_bytes,
  inflated_bytes,
  fragments,
};

CloseCode close_code_of(Breach breach) noexcept;
// At most 123 bytes.
std::string reason_of(Breach breach, const ReaderLimits& limits);

// The reader knows where the next frame begins, and the peer has not sent its last one: its close
// frame can be waited for.
constexpr bool is_framed(Breach breach) noexcept {
  return breach >= Breach::text;
}

}  // namespace corelane::ws
