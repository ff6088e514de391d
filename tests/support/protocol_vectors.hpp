#pragma once
// The test vectors (tests/conformance/protocol_vectors.json), built in: the samples of
// protocol/samples.toml as frames.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/verify.hpp"

namespace corelane::tests {

struct ProtocolVector {
  std::string_view name;
  std::uint16_t opcode;
  std::string_view table;                  // of the payload; empty: a payload of an application
  std::string_view hex;                    // the frame of our codec
  std::array<std::string_view, 2> python;  // the frames of Python's builder

  bool is_request() const { return table.ends_with("Request"); }
};

inline constexpr ProtocolVector kProtocolVectors[] = {
#include "tests/support/protocol_vectors_generated.hpp"
};

// True if `payload` is a valid payload of the table of this name.
inline bool verifies(std::string_view table, std::span<const std::byte> payload) {
  protocol::AlignedScratch scratch;
#define PROTOCOL_TABLE(Table) \
  if (table == #Table)        \
    return bool{protocol::verify_payload<protocol::fbs::Table>(payload, scratch)};
#include "tests/support/protocol_tables_generated.hpp"
#undef PROTOCOL_TABLE
  return false;
}

inline std::vector<std::byte> unhex(std::string_view digits) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i + 1 < digits.size(); i += 2) {
    bytes.push_back(
        static_cast<std::byte>(std::stoi(std::string(digits.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}

}  // namespace corelane::tests
