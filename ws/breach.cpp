#include "ws/breach.hpp"

#include "ws/message_reader.hpp"

namespace corelane::ws {
namespace {

std::string with_limit(std::string text, std::uint64_t limit) {
  return text += " (" + std::to_string(limit) + ")";
}

}  // namespace

CloseCode close_code_of(Breach breach) noexcept {
  if (breach >= Breach::message_bytes) return CloseCode::message_too_big;
  return breach >= Breach::close_reason ? CloseCode::invalid_payload : CloseCode::protocol_error;
}

std::string reason_of(Breach breach, const ReaderLimits& limits) {
  switch (breach) {
    case Breach::none:
      break;
    case Breach::reserved_bits:
      return "reserved bits are set that no extension defines here";
    case Breach::unknown_opcode:
      return "unknown opcode";
    case Breach::unmasked:
      return "frames of a client must be masked";
    case Breach::masked:
      return "frames of a server must not be masked";
    case Breach::fragmented_control:
      return "control frames must not be fragmented";
    case Breach::large_control:
      return "control frames have at most 125 bytes";
    case Breach::nothing_to_continue:
      return "a continuation frame without a message to continue";
    case Breach::unfinished_before:
      return "a new message before the fragmented one has ended";
    case Breach::long_length_form:
      return "the length is not in its shortest form";
    case Breach::impossible_length:
      return "a length of 2^63 or more";
    case Breach::close_of_one_byte:
      return "a close frame of one byte";
    case Breach::close_code:
      return "a close code that must not be sent";
    case Breach::close_reason:
      return "the reason of the close frame is not UTF-8";
    case Breach::text:
      return "text that is not UTF-8";
    case Breach::compressed_data:
      return "compressed data that cannot be inflated";
    case Breach::message_bytes:
      return with_limit("message larger than limits.message_bytes_max", limits.message_bytes_max);
    case Breach::inflated_bytes:
      return with_limit("inflated message larger than limits.message_bytes_max",
                        limits.message_bytes_max);
    case Breach::fragments:
      return with_limit("message in more fragments than limits.fragments_max",
                        limits.fragments_max);
  }
  return {};
}

}  // namespace corelane::ws
