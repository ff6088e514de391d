#pragma once
// What the number of an opcode says before anybody looks at the payload. The wire carries 16 bits
// and most of the values have no enumerator, so that code compares classes and never assumes that a
// name exists.

#include <cstdint>
#include <string_view>

#include "protocol/fbs.hpp"

namespace corelane::protocol {

using fbs::AckLevel;
using fbs::CacheCondition;
using fbs::ErrorCode;
using fbs::Opcode;
using fbs::Transport;

inline constexpr std::uint16_t kRequestOpcodeMax = 18;
inline constexpr std::uint16_t kServerOpcodeMax = 63;
inline constexpr std::uint16_t kFurtherRequestOpcodeMax = 127;
inline constexpr std::uint16_t kCustomOpcodeMin = 200;

enum class OpcodeClass : std::uint8_t {
  request,   // 1 to 18 and 64 to 127: clients send it; Pong (3) may come from either side
  server,    // 19 to 63 and 128 to 199: only the server sends it, named or not
  reserved,  // 0: nobody sends it
  custom,    // 200 to 65,535: handlers of the application
};

constexpr std::uint16_t number(Opcode opcode) noexcept {
  return static_cast<std::uint16_t>(opcode);
}

constexpr OpcodeClass classify(Opcode opcode) noexcept {
  const std::uint16_t value = number(opcode);
  if (value >= kCustomOpcodeMin) return OpcodeClass::custom;
  if (value == 0) return OpcodeClass::reserved;
  if (value <= kRequestOpcodeMax) return OpcodeClass::request;
  if (value <= kServerOpcodeMax || value > kFurtherRequestOpcodeMax) return OpcodeClass::server;
  return OpcodeClass::request;
}

// "Publish"; empty for a number without a name.
inline std::string_view opcode_name(Opcode opcode) noexcept {
  return fbs::EnumNameOpcode(opcode);
}

// "unknown_session"; empty for a number without a name (a newer server may send one).
inline std::string_view error_code_name(ErrorCode code) noexcept {
  return fbs::EnumNameErrorCode(code);
}

}  // namespace corelane::protocol
