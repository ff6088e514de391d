// Goal: what a peer sent is either refused or safe to read, wherever it lies in memory, and
// refusing costs a bounded amount of work. Method: frames moved through all addresses; buffers of
// FlatBuffers' own builder in both of its alignments; each limit and one past it; hostile shapes
// with their visits counted.
#include "protocol/verify.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include "tests/unit/protocol/deep_generated.hpp"
#include "tests/unit/protocol/sample.hpp"

namespace corelane {
namespace {

using namespace protocol;
namespace test = ::protocol::test;

std::vector<std::byte> finished(const flatbuffers::FlatBufferBuilder& builder) {
  const auto* data = reinterpret_cast<const std::byte*>(builder.GetBufferPointer());
  return {data, data + builder.GetSize()};
}

// A copy at `phase` past a multiple of 16, in memory that ends where the copy ends.
class Displaced {
 public:
  Displaced(Bytes bytes, std::size_t phase) : memory_(phase + bytes.size()), phase_(phase) {
    std::copy(bytes.begin(), bytes.end(), memory_.begin() + static_cast<std::ptrdiff_t>(phase));
  }
  Bytes bytes() const { return Bytes(memory_).subspan(phase_); }

 private:
  std::vector<std::byte> memory_;
  std::size_t phase_;
};

TEST(VerifyMessage, ReadsTheSameAtEveryAddress) {
  const auto frame = sample::frame(
      sample::kFullHeader, PublishBody{.channel = "news", .data = sample::bytes("some data")});
  for (std::size_t phase = 0; phase < 16; ++phase) {
    const Displaced copy(frame, phase);
    const MessageView view = sample::open(copy.bytes());
    EXPECT_EQ(view.timestamp, sample::kFullHeader.timestamp);
    EXPECT_EQ(view.span_id, sample::kFullHeader.span_id);
    EXPECT_EQ(view.transaction_id, sample::kFullHeader.transaction_id);
    AlignedScratch scratch;
    const auto payload = verify_payload<fbs::PublishRequest>(view.payload, scratch);
    ASSERT_TRUE(payload) << phase;
    EXPECT_EQ(text_of(payload->channel()), "news");
    EXPECT_EQ(sample::text(bytes_of(payload->data())), "some data");
    EXPECT_EQ(scratch.capacity_bytes() == 0, phase % 4 == 0)
        << "a request is copied only from addresses that are no multiple of 4";
  }
}

TEST(VerifyMessage, TakesBothAlignmentsOfForeignBuilders) {
  for (const bool size_prefixed : {true, false}) {
    flatbuffers::FlatBufferBuilder inner;
    inner.Finish(fbs::CreatePongReplyDirect(inner, nullptr, 77));
    flatbuffers::FlatBufferBuilder builder;
    const auto payload = builder.CreateVector(inner.GetBufferPointer(), inner.GetSize());
    const fbs::UUID id = to_fbs(sample::uuid(1));
    const auto message = fbs::CreateMessage(builder, Opcode::Pong, &id, payload, 5, nullptr, 6);
    std::vector<std::byte> bytes;
    if (size_prefixed) {
      builder.FinishSizePrefixed(message);
      bytes = finished(builder);
    } else {
      builder.Finish(message);
      bytes.resize(kFrameSizeBytes);
      store(bytes.data(), builder.GetSize());
      const auto rest = finished(builder);
      bytes.insert(bytes.end(), rest.begin(), rest.end());
    }
    const MessageView view = sample::open(bytes);
    EXPECT_EQ(view.timestamp, 5u);
    EXPECT_EQ(view.span_id, 6u);
    AlignedScratch scratch;
    const auto pong = verify_payload<fbs::PongReply>(view.payload, scratch);
    ASSERT_TRUE(pong);
    EXPECT_EQ(pong->server_time(), 77u);
  }
}

TEST(VerifyMessage, ReadsAbsentFieldsAsZeroAndSkipsUnknownOnes) {
  flatbuffers::FlatBufferBuilder empty;
  empty.Finish(flatbuffers::Offset<fbs::Message>(empty.EndTable(empty.StartTable())));
  const VerifiedMessage nothing = verify_message(finished(empty));
  ASSERT_TRUE(nothing.ok);
  EXPECT_EQ(nothing.view.opcode, Opcode::None);
  EXPECT_TRUE(nothing.view.transaction_id.is_nil());
  EXPECT_TRUE(nothing.view.payload.empty());

  flatbuffers::FlatBufferBuilder newer;
  const auto start = newer.StartTable();
  newer.AddElement<std::uint64_t>(fbs::Message::VT_SPAN_ID + 2, 99, 0);
  newer.AddElement<std::uint16_t>(fbs::Message::VT_OPCODE, 200, 0);
  newer.Finish(flatbuffers::Offset<fbs::Message>(newer.EndTable(start)));
  const VerifiedMessage with_more = verify_message(finished(newer));
  ASSERT_TRUE(with_more.ok);
  EXPECT_EQ(number(with_more.view.opcode), 200);
}

TEST(VerifyMessage, RefusesEveryTruncationWithoutReadingPastTheEnd) {
  const auto frame = sample::frame(sample::kFullHeader, PingBody{.data = sample::bytes("data")});
  const Bytes message = Bytes(frame).subspan(kFrameSizeBytes);
  const std::size_t payload_end = static_cast<std::size_t>(
      sample::open(frame).payload.data() + sample::open(frame).payload.size() - message.data());
  for (std::size_t bytes = 0; bytes < message.size(); ++bytes) {
    const Displaced copy(message.first(bytes), 0);
    EXPECT_EQ(verify_message(copy.bytes()).ok, bytes >= payload_end) << bytes;
  }
}

TEST(VerifyMessage, RefusesAVtableOfOddSizeAsFlatBuffersDoes) {
  const auto frame = sample::frame(sample::kFullHeader, PingBody{.data = sample::bytes("data")});
  const Bytes good = Bytes(frame).subspan(kFrameSizeBytes);
  const std::size_t table = load<std::uint32_t>(good.data());
  const auto vtable =
      static_cast<std::size_t>(static_cast<std::int64_t>(table) - load<std::int32_t>(&good[table]));
  const auto vtable_bytes = load<std::uint16_t>(&good[vtable]);
  for (int size = vtable_bytes - 3; size <= vtable_bytes + 3; ++size) {
    std::vector<std::byte> changed(good.begin(), good.end());
    store(&changed[vtable], static_cast<std::uint16_t>(size));
    flatbuffers::Verifier verifier(reinterpret_cast<const std::uint8_t*>(changed.data()),
                                   changed.size());
    if (size % 2 != 0) {
      EXPECT_FALSE(verifier.VerifyBuffer<fbs::Message>(nullptr)) << size;
      EXPECT_FALSE(verify_message(changed).ok) << size;
    } else if (size == vtable_bytes) {
      EXPECT_TRUE(verify_message(changed).ok);
    }
  }
}

// A vtable may place a field anywhere; what it would read there is echoed as a transaction id.
TEST(VerifyMessage, RefusesEveryFieldThatEndsPastTheMessage) {
  const auto frame = sample::frame(sample::kFullHeader, PingBody{.data = sample::bytes("data")});
  const Bytes good = Bytes(frame).subspan(kFrameSizeBytes);
  const std::size_t table = load<std::uint32_t>(good.data());
  const auto vtable =
      static_cast<std::size_t>(static_cast<std::int64_t>(table) - load<std::int32_t>(&good[table]));
  struct Field {
    flatbuffers::voffset_t field;
    std::size_t bytes;
  };
  for (const Field& field : {Field{fbs::Message::VT_OPCODE, 2},
                             {fbs::Message::VT_TRANSACTION_ID, 16},
                             {fbs::Message::VT_PAYLOAD, 4},
                             {fbs::Message::VT_TIMESTAMP, 8},
                             {fbs::Message::VT_TRACE_ID, 16},
                             {fbs::Message::VT_SPAN_ID, 8}}) {
    for (std::size_t at = good.size() - field.bytes; at <= good.size() + 20; ++at) {
      std::vector<std::byte> moved(good.begin(), good.end());
      store(&moved[vtable + field.field], static_cast<std::uint16_t>(at - table));
      const Displaced copy(moved, 0);
      const bool fits = at + field.bytes <= good.size();
      // What the payload's offset would be there does not matter: it has to be refused past the
      // end.
      if (fits && field.field == fbs::Message::VT_PAYLOAD) continue;
      EXPECT_EQ(verify_message(copy.bytes()).ok, fits) << field.field << " at " << at;
    }
  }
}

TEST(VerifyMessage, RefusesTwoGibibytesWithoutLookingAtThem) {
  const std::size_t bytes = std::size_t{1} << 31;
  void* unreadable =
      mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_NE(unreadable, MAP_FAILED);
  const Bytes span(static_cast<const std::byte*>(unreadable), bytes);
  EXPECT_FALSE(verify_message(span).ok);
  AlignedScratch scratch;
  EXPECT_EQ(verify_payload<fbs::PingRequest>(span, scratch).code, ErrorCode::malformed_payload);
  munmap(unreadable, bytes);
}

TEST(VerifyPayload, EmptyStandsForATableWithoutFields) {
  AlignedScratch scratch;
  EXPECT_TRUE(verify_payload<fbs::WhoAmIRequest>({}, scratch));
  const auto ping = verify_payload<fbs::PingRequest>({}, scratch);
  ASSERT_TRUE(ping);
  EXPECT_TRUE(bytes_of(ping->data()).empty());
  EXPECT_EQ(verify_payload<fbs::PublishRequest>({}, scratch).code, ErrorCode::malformed_payload)
      << "a channel is required";
  EXPECT_EQ(verify_payload<fbs::SendRequest>({}, scratch).code, ErrorCode::malformed_payload);
  EXPECT_EQ(verify_payload<fbs::SubscribeRequest>({}, scratch).code, ErrorCode::malformed_payload);
}

TEST(VerifyPayload, TakesAsManyChannelsAsTheLimitAndNotOneMore) {
  AlignedScratch scratch;
  std::vector<std::string_view> channels(kChannelsPerRequestMax, "c");
  auto frame = sample::frame({}, SubscribeBody{.channels = channels});
  const auto most = verify_payload<fbs::SubscribeRequest>(sample::open(frame).payload, scratch);
  ASSERT_TRUE(most);
  EXPECT_EQ(most->channels()->size(), kChannelsPerRequestMax);
  channels.push_back("c");
  frame = sample::frame({}, UnsubscribeBody{.channels = channels});
  EXPECT_EQ(verify_payload<fbs::UnsubscribeRequest>(sample::open(frame).payload, scratch).code,
            ErrorCode::too_many_channels);
}

// The list is as long as it may be, and still each of its strings is looked at.
TEST(VerifyPayload, RefusesABrokenNameAtTheEndOfTheLongestList) {
  const std::vector<std::string_view> channels(kChannelsPerRequestMax, "c");
  const auto frame = sample::frame({}, SubscribeBody{.channels = channels});
  AlignedScratch scratch;
  const Bytes payload = sample::open(frame).payload;
  const auto whole = verify_payload<fbs::SubscribeRequest>(payload, scratch);
  ASSERT_TRUE(whole);
  const auto* names = whole->channels();
  const auto position = [&](const void* inside) {
    return static_cast<std::size_t>(static_cast<const std::byte*>(inside) - payload.data());
  };
  for (const flatbuffers::uoffset_t index : {0u, names->size() / 2, names->size() - 1}) {
    std::vector<std::byte> unterminated(payload.begin(), payload.end());
    const std::size_t end = position(names->Get(index)->c_str()) + 1;
    ASSERT_EQ(unterminated[end], std::byte{0});
    unterminated[end] = std::byte{'!'};
    EXPECT_EQ(verify_payload<fbs::SubscribeRequest>(unterminated, scratch).code,
              ErrorCode::malformed_payload)
        << index;
    std::vector<std::byte> outside(payload.begin(), payload.end());
    store(&outside[position(names->Data()) + std::size_t{index} * 4],
          static_cast<std::uint32_t>(payload.size()));
    EXPECT_EQ(verify_payload<fbs::SubscribeRequest>(outside, scratch).code,
              ErrorCode::malformed_payload)
        << index;
  }
}

TEST(VerifyPayload, RefusesResultsThatCouldOnlyBeReadMisaligned) {
  // The verifier checks where a vector starts, not where its elements do.
  const std::array results{fbs::ChannelResult(1, 2, ErrorCode::none, 0, 0)};
  const auto good = sample::frame({}, SubscribeReplyBody{.results = results});
  const Bytes payload = sample::open(good).payload;
  const std::size_t vector_at = payload.size() - sizeof(fbs::ChannelResult) - 4;
  std::vector<std::byte> moved(payload.begin(), payload.end());
  moved.insert(moved.begin() + static_cast<std::ptrdiff_t>(vector_at), 4, std::byte{0});
  // The table's only field, right before the vector, is the offset to it: 4, and now 8.
  ASSERT_EQ(load<std::uint32_t>(&payload[vector_at - 4]), 4u);
  store(&moved[vector_at - 4], std::uint32_t{8});
  AlignedScratch scratch;
  EXPECT_TRUE(verify_payload<fbs::SubscribeReply>(payload, scratch));
  flatbuffers::Verifier verifier(reinterpret_cast<const std::uint8_t*>(moved.data()), moved.size());
  ASSERT_TRUE(verifier.VerifyBuffer<fbs::SubscribeReply>(nullptr));
  EXPECT_EQ(verify_payload<fbs::SubscribeReply>(moved, scratch).code, ErrorCode::malformed_payload);
}

TEST(VerifyPayload, UnterminatedTextIsRefused) {
  auto frame = sample::frame({}, PublishBody{.channel = "news", .data = {}});
  AlignedScratch scratch;
  const auto whole = verify_payload<fbs::PublishRequest>(sample::open(frame).payload, scratch);
  ASSERT_TRUE(whole);
  const auto at = reinterpret_cast<const std::byte*>(whole->channel()->c_str()) - frame.data() + 4;
  ASSERT_EQ(frame[static_cast<std::size_t>(at)], std::byte{0});
  frame[static_cast<std::size_t>(at)] = std::byte{'!'};
  EXPECT_FALSE(verify_payload<fbs::PublishRequest>(sample::open(frame).payload, scratch));
}

// A chain of `tables` tables, each the child of the one before.
std::vector<std::byte> chain(int tables) {
  flatbuffers::FlatBufferBuilder builder;
  flatbuffers::Offset<test::Node> node;
  for (int i = 0; i < tables; ++i) node = test::CreateNode(builder, node);
  builder.Finish(node);
  return finished(builder);
}

// A root whose list names one and the same table `visits - 1` times.
std::vector<std::byte> fan(std::size_t visits) {
  flatbuffers::FlatBufferBuilder builder;
  const auto leaf = test::CreateNode(builder);
  const std::vector<flatbuffers::Offset<test::Node>> leaves(visits - 1, leaf);
  builder.Finish(test::CreateNode(builder, {}, builder.CreateVector(leaves)));
  return finished(builder);
}

TEST(VerifyPayload, TakesDepthEightAndRefusesNine) {
  AlignedScratch scratch;
  EXPECT_TRUE(verify_payload<test::Node>(chain(8), scratch));
  EXPECT_FALSE(verify_payload<test::Node>(chain(9), scratch));
}

TEST(VerifyPayload, TakesAsManyTablesAsTheBudgetAndNotOneMore) {
  AlignedScratch scratch;
  // Each further visit costs 4 bytes and so raises the budget by a sixteenth: find where they meet.
  std::size_t visits = 2;
  while (visits + 1 <= verify_limits(fan(visits + 1).size()).tables_max) ++visits;
  EXPECT_TRUE(verify_payload<test::Node>(fan(visits), scratch)) << visits;
  EXPECT_FALSE(verify_payload<test::Node>(fan(visits + 1), scratch)) << visits;
  EXPECT_EQ(verify_limits(0).tables_max, 64u);
  EXPECT_EQ(verify_limits(63).tables_max, 64u);
  EXPECT_EQ(verify_limits(64).tables_max, 65u);
  EXPECT_EQ(verify_limits(65536).tables_max, 1088u);
}

// test::Node with its visits counted.
struct CountedNode : flatbuffers::Table {
  static inline std::size_t visits = 0;

  bool Verify(flatbuffers::Verifier& verifier) const {
    ++visits;
    using Children = flatbuffers::Vector<flatbuffers::Offset<CountedNode>>;
    return VerifyTableStart(verifier) && VerifyOffset(verifier, test::Node::VT_CHILD) &&
           verifier.VerifyTable(GetPointer<const CountedNode*>(test::Node::VT_CHILD)) &&
           VerifyOffset(verifier, test::Node::VT_CHILDREN) &&
           verifier.VerifyVector(GetPointer<const Children*>(test::Node::VT_CHILDREN)) &&
           verifier.VerifyVectorOfTables(GetPointer<const Children*>(test::Node::VT_CHILDREN)) &&
           verifier.EndTable();
  }
};

TEST(VerifyPayload, TablesThatPointAtEachOtherAreVisitedNoMoreThanTheBudget) {
  // Eight levels, each naming the next one eight times: 8^7 visits without a budget.
  flatbuffers::FlatBufferBuilder builder;
  auto node = test::CreateNode(builder);
  for (int level = 0; level < 7; ++level) {
    const std::vector<flatbuffers::Offset<test::Node>> eight(8, node);
    node = test::CreateNode(builder, {}, builder.CreateVector(eight));
  }
  builder.Finish(node);
  const auto payload = finished(builder);
  ASSERT_LT(payload.size(), 512u);
  AlignedScratch scratch;
  CountedNode::visits = 0;
  EXPECT_FALSE(verify_payload<CountedNode>(payload, scratch));
  EXPECT_LE(CountedNode::visits, verify_limits(payload.size()).tables_max + 1);
}

TEST(AlignedScratch, KeepsItsMemoryBetweenMessages) {
  AlignedScratch scratch;
  const std::vector<std::byte> memory(1001);
  const Bytes misaligned = Bytes(memory).subspan(1);
  const Bytes first = scratch.aligned(misaligned, 8);
  EXPECT_TRUE(is_aligned(first.data(), 16));
  const std::size_t capacity = scratch.capacity_bytes();
  EXPECT_EQ(scratch.aligned(misaligned.first(500), 8).data(), first.data());
  EXPECT_EQ(scratch.capacity_bytes(), capacity);
  EXPECT_EQ(scratch.aligned(misaligned, 1).data(), misaligned.data());
}

}  // namespace
}  // namespace corelane
