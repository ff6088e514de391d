// Goal: the short way through verification takes what write_frame() builds, accepts nothing that
// FlatBuffers' verifier refuses, and reads what the general way reads. Method: both ways side by
// side over frames of ours, of FlatBuffers' own builder, and over each of these with every byte
// replaced by every value, cut at every byte, and moved to every address.
#include "protocol/requests.hpp"

#include <gtest/gtest.h>

#include <optional>

#include "protocol/bytes.hpp"
#include "tests/support/request_fields.hpp"
#include "tests/unit/protocol/sample.hpp"

namespace corelane {
namespace {

using namespace protocol;

bool operator==(const PingRequest& a, const PingRequest& b) {
  return sample::text(a.data) == sample::text(b.data);
}
bool operator==(const PublishRequest& a, const PublishRequest& b) {
  return a.channel == b.channel && sample::text(a.data) == sample::text(b.data) &&
         a.requires_ack == b.requires_ack;
}
bool operator==(const SendRequest& a, const SendRequest& b) {
  return a.session == b.session && sample::text(a.data) == sample::text(b.data) &&
         a.requires_ack == b.requires_ack;
}
bool operator==(const BroadcastRequest& a, const BroadcastRequest& b) {
  return sample::text(a.data) == sample::text(b.data) && a.requires_ack == b.requires_ack &&
         a.include_self == b.include_self;
}
bool operator==(const CacheGetRequest& a, const CacheGetRequest& b) {
  return a.key == b.key && a.if_newer_than == b.if_newer_than;
}
bool operator==(const CacheSetRequest& a, const CacheSetRequest& b) {
  return a.key == b.key && sample::text(a.value) == sample::text(b.value) && a.ttl_ms == b.ttl_ms &&
         a.version == b.version && a.lease == b.lease && a.condition == b.condition &&
         a.sliding == b.sliding;
}
bool operator==(const CacheDeleteRequest& a, const CacheDeleteRequest& b) {
  return a.key == b.key && a.version == b.version;
}

// True if the payload is accepted; then both ways have read the same.
template <class Table, class Request>
bool same_both_ways(Bytes payload) {
  AlignedScratch scratch;
  const auto verified = verify_payload<Table>(payload, scratch);
  AlignedScratch other_scratch;
  Request read;
  const ErrorCode code = read_request(payload, other_scratch, read);
  EXPECT_EQ(code, verified.code);
  Request usual;
  const bool is_usual = detail::read_usual(payload, usual);
  EXPECT_TRUE(verified || !is_usual) << "taken, though FlatBuffers refuses it";
  if (!verified || code != ErrorCode::none) return false;
  const Request expected = tests::fields(*verified.table);
  EXPECT_TRUE(read == expected);
  EXPECT_TRUE(!is_usual || usual == expected);
  return true;
}

// Calls visit(opcode's table, request, payload) for a payload of each kind, by write_frame().
template <class Visit>
void for_each_request(const Visit& visit) {
  for (const std::string_view data : {"", "d", "data", "seven b"}) {
    for (const bool flag : {false, true}) {
      const auto of = [&](const auto& body) {
        const auto frame = sample::frame({.transaction_id = sample::uuid(1)}, body);
        const Bytes payload = sample::open(frame).payload;
        return std::vector<std::byte>(payload.begin(), payload.end());
      };
      const Bytes bytes = sample::bytes(data);
      visit(std::type_identity<fbs::PingRequest>{}, PingRequest{.data = bytes},
            of(PingBody{.data = bytes}));
      visit(std::type_identity<fbs::PublishRequest>{},
            PublishRequest{.channel = "news", .data = bytes, .requires_ack = flag},
            of(PublishBody{.channel = "news", .data = bytes, .requires_ack = flag}));
      visit(std::type_identity<fbs::SendRequest>{},
            SendRequest{.session = sample::uuid(7), .data = bytes, .requires_ack = flag},
            of(SendBody{.session = sample::uuid(7), .data = bytes, .requires_ack = flag}));
      visit(std::type_identity<fbs::BroadcastRequest>{},
            BroadcastRequest{.data = bytes, .requires_ack = flag, .include_self = !flag},
            of(BroadcastBody{.data = bytes, .requires_ack = flag, .include_self = !flag}));
      const std::uint64_t number = flag ? 0x0102030405060708 : 0;
      visit(std::type_identity<fbs::CacheGetRequest>{},
            CacheGetRequest{.key = "k", .if_newer_than = number},
            of(CacheGetBody{.key = "k", .if_newer_than = number}));
      visit(std::type_identity<fbs::CacheSetRequest>{},
            CacheSetRequest{.key = "k",
                            .value = bytes,
                            .ttl_ms = number,
                            .version = number + 1,
                            .lease = number + 2,
                            .condition = CacheCondition::replace_only,
                            .sliding = flag},
            of(CacheSetBody{.key = "k",
                            .value = bytes,
                            .ttl_ms = number,
                            .version = number + 1,
                            .lease = number + 2,
                            .condition = CacheCondition::replace_only,
                            .sliding = flag}));
      visit(std::type_identity<fbs::CacheDeleteRequest>{},
            CacheDeleteRequest{.key = data, .version = number},
            of(CacheDeleteBody{.key = data, .version = number}));
    }
  }
}

TEST(ReadRequest, TakesTheShortWayForWhatWriteFrameBuildsAtEveryAddress) {
  for_each_request([]<class Table, class Request>(std::type_identity<Table>, const Request& sent,
                                                  const std::vector<std::byte>& payload) {
    for (std::size_t phase = 0; phase < 8; ++phase) {
      std::vector<std::byte> memory(phase);
      memory.insert(memory.end(), payload.begin(), payload.end());
      const Bytes moved = Bytes(memory).subspan(phase);
      Request usual;
      ASSERT_TRUE(detail::read_usual(moved, usual));
      EXPECT_TRUE(usual == sent);
      AlignedScratch scratch;
      Request read;
      ASSERT_EQ(read_request(moved, scratch, read), ErrorCode::none);
      EXPECT_TRUE(read == sent);
      EXPECT_EQ(scratch.capacity_bytes(), 0u) << "copied";
    }
  });
}

TEST(ReadRequest, AgreesWithFlatBuffersWhateverByteIsReplaced) {
  std::size_t accepted = 0;
  std::size_t refused = 0;
  for_each_request([&]<class Table, class Request>(std::type_identity<Table>, const Request&,
                                                   std::vector<std::byte> payload) {
    for (std::size_t at = 0; at < payload.size(); ++at) {
      const std::byte was = payload[at];
      for (unsigned value = 0; value < 256; ++value) {
        payload[at] = static_cast<std::byte>(value);
        const bool taken = same_both_ways<Table, Request>(payload);
        ++(taken ? accepted : refused);
      }
      payload[at] = was;
      if (testing::Test::HasFailure()) FAIL() << "byte " << at;
    }
  });
  EXPECT_GT(accepted, 10'000u);
  EXPECT_GT(refused, 10'000u);
}

TEST(ReadRequest, AgreesWithFlatBuffersWhateverNumberIsReplaced) {
  for_each_request([&]<class Table, class Request>(std::type_identity<Table>, const Request&,
                                                   std::vector<std::byte> payload) {
    for (std::size_t at = 0; at + 4 <= payload.size(); at += 2) {
      const auto was = load<std::uint32_t>(&payload[at]);
      const auto size = static_cast<std::uint32_t>(payload.size());
      for (const std::uint32_t value :
           {0u, 1u, 3u, 4u, 5u, size - 8, size - 5, size - 4, size - 3, size, 0x7fff'ffffu,
            0x7fff'fffcu, 0x8000'0000u, 0xffff'fff0u, 0xffff'fffcu, 0xffff'ffffu}) {
        store(&payload[at], value);
        same_both_ways<Table, Request>(payload);
        // Relative to where it stands, so that it points right before, at, and past the end.
        store(&payload[at], value - static_cast<std::uint32_t>(at));
        same_both_ways<Table, Request>(payload);
      }
      store(&payload[at], was);
      if (testing::Test::HasFailure()) FAIL() << "number at " << at;
    }
  });
}

TEST(ReadRequest, AgreesWithFlatBuffersWhereverItIsCut) {
  for_each_request([&]<class Table, class Request>(std::type_identity<Table>, const Request&,
                                                   const std::vector<std::byte>& payload) {
    for (std::size_t bytes = 1; bytes <= payload.size(); ++bytes) {
      // In memory of its own size, so that a sanitizer sees a read past the cut.
      const std::vector<std::byte> cut(payload.begin(),
                                       payload.begin() + static_cast<std::ptrdiff_t>(bytes));
      same_both_ways<Table, Request>(cut);
    }
  });
}

TEST(ReadRequest, ReadsForeignPayloadsThatLieDifferently) {
  flatbuffers::FlatBufferBuilder builder;
  const std::vector<std::uint8_t> data{'d', 'a', 't', 'a'};
  builder.Finish(fbs::CreatePublishRequestDirect(builder, "news", &data, true));
  const Bytes payload(reinterpret_cast<const std::byte*>(builder.GetBufferPointer()),
                      builder.GetSize());
  PublishRequest request;
  EXPECT_FALSE(detail::read_usual(payload, request)) << "the test needs another layout";
  AlignedScratch scratch;
  ASSERT_EQ(read_request(payload, scratch, request), ErrorCode::none);
  EXPECT_EQ(request.channel, "news");
  EXPECT_EQ(sample::text(request.data), "data");
  EXPECT_TRUE(request.requires_ack);
}

TEST(ReadRequest, EmptyStandsForATableWithoutFields) {
  AlignedScratch scratch;
  PingRequest ping;
  EXPECT_EQ(read_request({}, scratch, ping), ErrorCode::none);
  EXPECT_TRUE(ping.data.empty());
  PublishRequest publish;
  EXPECT_EQ(read_request({}, scratch, publish), ErrorCode::malformed_payload);
  SendRequest send;
  EXPECT_EQ(read_request({}, scratch, send), ErrorCode::malformed_payload);
}

// --- The envelope

bool is_usual(Bytes message) {
  MessageView view;
  return detail::verify_usual(message, view);
}

void expect_the_same(Bytes message) {
  MessageView usual;
  if (!detail::verify_usual(message, usual)) {
    EXPECT_EQ(usual.opcode, Opcode::None);
    EXPECT_TRUE(usual.payload.empty());
    return;
  }
  const VerifiedMessage any = detail::verify_any(message);
  ASSERT_TRUE(any.ok) << "taken, though the general way refuses it";
  EXPECT_EQ(usual.opcode, any.view.opcode);
  EXPECT_EQ(usual.timestamp, any.view.timestamp);
  EXPECT_EQ(usual.span_id, any.view.span_id);
  EXPECT_EQ(usual.transaction_id, any.view.transaction_id);
  EXPECT_EQ(usual.trace_id, any.view.trace_id);
  EXPECT_EQ(usual.payload.data(), any.view.payload.data());
  EXPECT_EQ(usual.payload.size(), any.view.payload.size());
}

TEST(VerifyUsual, TakesWhatWriteFrameBuildsWithATransactionAndNoTrace) {
  sample::for_each_body([](const MessageHeader& header, const auto& body) {
    const auto frame = sample::frame(header, body);
    const Bytes message = Bytes(frame).subspan(kFrameSizeBytes);
    const bool traced = header.span_id != 0 || !header.trace_id.is_nil();
    EXPECT_EQ(is_usual(message), !header.transaction_id.is_nil() && !traced);
    expect_the_same(message);
  });
}

TEST(VerifyUsual, AgreesWithTheGeneralWayWhateverIsReplacedOrCut) {
  const auto frame =
      sample::frame({.transaction_id = sample::uuid(1), .timestamp = 5}, PingBody{.data = {}});
  const std::vector<std::byte> whole(frame.begin() + kFrameSizeBytes, frame.end());
  ASSERT_TRUE(is_usual(whole));
  std::vector<std::byte> message = whole;
  for (std::size_t at = 0; at < message.size(); ++at) {
    for (unsigned value = 0; value < 256; ++value) {
      message[at] = static_cast<std::byte>(value);
      expect_the_same(message);
    }
    message[at] = whole[at];
    for (const std::uint32_t value : {0u, 0x7fff'ffffu, 0x8000'0000u, 0xffff'fffcu, 0xffff'ffffu}) {
      if (at + 4 > message.size()) break;
      store(&message[at], value);
      expect_the_same(message);
      message = whole;
    }
    const std::vector<std::byte> cut(whole.begin(),
                                     whole.begin() + static_cast<std::ptrdiff_t>(at));
    expect_the_same(cut);
  }
}

}  // namespace
}  // namespace corelane
