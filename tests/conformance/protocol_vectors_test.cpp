// Goal: our frames are the published test vectors, byte for byte. Frames of a foreign builder with
// the same content read the same. Services serve each request that has vectors. Method: the samples
// of protocol/samples.toml, as frames of our codec and of Python's builder. FlatBuffers' accessors
// read Python's frames, our codec lays their content again, and the result must be our frame.
// protocol_samples.py compares the content of both with the list.
//
//   protocol_vectors --lay HEX    prints our frame of the same content
#include <gtest/gtest.h>

#include <cstdio>
#include <string>
#include <vector>

#include "protocol/frame.hpp"
#include "protocol/message.hpp"
#include "protocol/verify.hpp"
#include "services/node/services.hpp"
#include "tests/support/bodies.hpp"
#include "tests/support/protocol_vectors.hpp"

namespace corelane {
namespace {

using namespace protocol;
using tests::kProtocolVectors;
using tests::ProtocolVector;

std::string hex(Bytes bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string result;
  for (const std::byte byte : bytes) {
    result += kDigits[static_cast<unsigned>(byte) >> 4];
    result += kDigits[static_cast<unsigned>(byte) & 15];
  }
  return result;
}

template <class Body>
void lay_again(const MessageView& view, const MessageHeader& header, std::vector<std::byte>& out) {
  tests::OpenedBody<Body> opened;
  tests::open_body(view.payload, opened);
  if (!testing::Test::HasFailure()) append_frame(out, header, opened.body);
}

// Our frame of the same content. A payload without a body type is copied.
std::string laid_by_us(std::string_view digits, std::string_view table = {}) {
  const auto bytes = tests::unhex(digits);
  const Frame frame = next_frame(bytes, kFrameBytesMaxDefault);
  EXPECT_EQ(frame.status, FrameStatus::complete);
  EXPECT_EQ(frame.consumed, bytes.size());
  const VerifiedMessage message = verify_message(frame.message);
  EXPECT_TRUE(message.ok);
  const MessageView& view = message.view;
  const MessageHeader header{.transaction_id = view.transaction_id,
                             .timestamp = view.timestamp,
                             .trace_id = view.trace_id,
                             .span_id = view.span_id};
  EXPECT_TRUE(table.empty() || tests::verifies(table, view.payload)) << table;
  std::vector<std::byte> out;
  switch (view.opcode) {
#define LAY_AGAIN(Body)                 \
  case Body::kOpcode:                   \
    lay_again<Body>(view, header, out); \
    break;
    PROTOCOL_BODIES(LAY_AGAIN)
#undef LAY_AGAIN
    default:
      append_frame(out, header, RawBody{.kOpcode = view.opcode, .payload = view.payload});
  }
  return hex(out);
}

TEST(ProtocolVectors, EveryFrameIsLaidByUsByteForByteWhoeverBuiltIt) {
  for (const ProtocolVector& vector : kProtocolVectors) {
    SCOPED_TRACE(vector.name);
    EXPECT_EQ(laid_by_us(vector.hex, vector.table), vector.hex);
    for (const std::string_view python : vector.python) {
      EXPECT_EQ(laid_by_us(python, vector.table), vector.hex);
    }
  }
}

TEST(ProtocolVectors, ARequestHasARowInAServiceAndOnesOfItsTableOrNeither) {
  const services::NodePlan plan{services::NodeOptions{}};
  std::size_t rows = 0;
  for (std::uint16_t number = 0; number < kCustomOpcodeMin; ++number) {
    const services::OpcodeRow& row = plan.opcodes.row(Opcode{number});
    SCOPED_TRACE(number);
    bool requested = false;
    for (const ProtocolVector& vector : kProtocolVectors) {
      if (vector.opcode != number || !vector.is_request()) continue;
      requested = true;
      EXPECT_EQ(row.request, vector.table);
    }
    EXPECT_EQ(row.serve != nullptr, requested)
        << "a row, or else a sample of a request, is missing";
    if (row.serve == nullptr) continue;
    EXPECT_EQ(row.name, opcode_name(Opcode{number}));
    ++rows;
  }
  EXPECT_GT(rows, 6u);
}

}  // namespace
}  // namespace corelane

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (argc == 3 && std::string_view(argv[1]) == "--lay") {
    std::puts(corelane::laid_by_us(argv[2]).c_str());
    return testing::Test::HasFailure() ? 1 : 0;
  }
  return RUN_ALL_TESTS();
}
