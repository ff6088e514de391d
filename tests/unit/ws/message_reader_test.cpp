// Goal: a MessageReader hands messages over where they lie, keeps its limits, and stops and goes on
// where the sink says. Method: addresses and room of what is handed over, each limit at the limit
// and one past it.
#include "ws/message_reader.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <string>
#include <vector>

#include "tests/unit/ws/wire.hpp"

namespace corelane {
namespace {

using tests::wire::Cuts;
using tests::wire::events_of;
using tests::wire::frame;
using tests::wire::Recorder;
using ws::MessageReader;
using ws::ReaderLimits;
using ws::ReadStatus;
using ws::Role;

std::vector<std::byte> buffer_of(std::string_view wire) {
  const auto bytes = tests::wire::as_bytes(wire);
  return {bytes.begin(), bytes.end()};
}

struct PlaceSink {
  const std::byte* at = nullptr;
  std::size_t room = 0;
  bool is_owned = false;
  ws::OwnedBytes taken;
  bool takes = false;

  bool on_message(ws::Message message) {
    at = message.payload().data();
    room = message.header_room();
    is_owned = message.is_owned();
    if (takes) taken = message.take_or_copy();
    return true;
  }
  bool on_ping(std::span<const std::byte>) { return true; }
  bool on_pong(std::span<const std::byte>) { return true; }
  bool on_close(ws::CloseCode, std::string_view) { return true; }
};

TEST(MessageReader, AWholeMessageIsHandedOverWhereItLies) {
  for (const std::size_t size : {0U, 1U, 125U, 126U, 65535U, 65536U}) {
    const std::string wire = frame({.opcode = 2, .payload = std::string(size, 'p')});
    std::vector<std::byte> bytes = buffer_of("--" + wire + wire);
    MessageReader reader{Role::server};
    PlaceSink sink;
    const auto result = reader.consume(std::span{bytes}.subspan(2), ReaderLimits{}, sink);
    EXPECT_EQ(result.status, ReadStatus::drained);
    EXPECT_EQ(result.consumed, 2 * wire.size());
    EXPECT_FALSE(sink.is_owned);
    EXPECT_EQ(sink.room, wire.size() - size);
    EXPECT_EQ(sink.at, bytes.data() + bytes.size() - size);
    EXPECT_GE(sink.room, ws::server_header_bytes(size));
    EXPECT_FALSE(reader.unfinished());
  }
}

TEST(MessageReader, AWholeMessageLandsWhereTheSinkSays) {
  struct LandingSink : PlaceSink {
    std::byte* end = nullptr;  // of the payload before
    std::vector<std::string> payloads;
    std::byte* landing() const noexcept { return end; }
    bool on_message(ws::Message message) {
      end = message.payload().data() + message.payload().size();
      payloads.emplace_back(message.text());
      return PlaceSink::on_message(message);
    }
  };
  for (const std::size_t size : {0U, 1U, 40U, 125U, 126U, 700U, 65535U, 65536U}) {
    const std::string first(size, 'a');
    const std::string second(size, 'b');
    std::vector<std::byte> bytes =
        buffer_of(frame({.opcode = 2, .payload = first}) + frame({.opcode = 1, .payload = second}));
    MessageReader reader{Role::server};
    LandingSink sink;
    const auto result = reader.consume(bytes, ReaderLimits{}, sink);
    EXPECT_EQ(result.consumed, bytes.size());
    EXPECT_EQ(sink.payloads, (std::vector{first, second}));
    EXPECT_EQ(sink.room, ws::server_header_bytes(size)) << "a reply follows the one before it";
    EXPECT_EQ(sink.at, bytes.data() + bytes.size() / 2 + sink.room);
  }
}

TEST(MessageReader, AMessageAcrossReceivesIsJoinedInAlignedMemoryWithRoom) {
  const std::string payload(5000, 'j');
  const std::string wire = frame({.opcode = 2, .payload = payload});
  MessageReader reader{Role::server};
  PlaceSink sink;
  sink.takes = true;
  std::vector<std::byte> first = buffer_of(wire.substr(0, 3000));
  std::vector<std::byte> second = buffer_of(wire.substr(3000));
  EXPECT_EQ(reader.consume(first, ReaderLimits{}, sink).status, ReadStatus::drained);
  EXPECT_EQ(sink.at, nullptr);
  first.assign(first.size(), std::byte{0xEE});
  EXPECT_EQ(reader.consume(second, ReaderLimits{}, sink).status, ReadStatus::drained);
  EXPECT_TRUE(sink.is_owned);
  EXPECT_GE(sink.room, ws::kServerHeaderBytesMax);
  EXPECT_EQ(std::bit_cast<std::uintptr_t>(sink.at) % 16, 0U);
  EXPECT_EQ(sink.taken.data(), sink.at) << "taking what is owned moves it";
  EXPECT_EQ(tests::wire::as_string(sink.taken.bytes()), payload);
}

TEST(MessageReader, ATakenMessageOutlivesTheReceiveBuffer) {
  std::vector<std::byte> bytes = buffer_of(frame({.payload = "stay"}));
  MessageReader reader{Role::server};
  PlaceSink sink;
  sink.takes = true;
  static_cast<void>(reader.consume(bytes, ReaderLimits{}, sink));
  bytes.assign(bytes.size(), std::byte{0});
  EXPECT_EQ(tests::wire::as_string(sink.taken.bytes()), "stay");
}

TEST(MessageReader, SaysWhatIsMissingAfterEveryByte) {
  const std::string wire = frame({.opcode = 2, .payload = std::string(300, 'm')});
  constexpr std::size_t kHeaderBytes = 8;
  MessageReader reader{Role::server};
  Recorder sink;
  EXPECT_FALSE(reader.unfinished());
  for (std::size_t at = 0; at < wire.size(); ++at) {
    std::vector<std::byte> byte = buffer_of(wire.substr(at, 1));
    static_cast<void>(reader.consume(byte, ReaderLimits{}, sink));
    const std::size_t arrived = at + 1;
    EXPECT_EQ(reader.unfinished(), arrived < wire.size());
    EXPECT_EQ(reader.bytes_missing(), arrived < kHeaderBytes ? 0 : wire.size() - arrived);
  }
  EXPECT_EQ(sink.events.size(), 1U);
}

TEST(MessageReader, SaysHowLargeTheFrameIsOnceItsHeaderIsThere) {
  const std::string wire = frame({.opcode = 2, .payload = std::string(300, 'm')});
  constexpr std::size_t kHeaderBytes = 8;
  for (std::size_t cut = 0; cut <= wire.size(); ++cut) {
    MessageReader reader{Role::server};
    Recorder sink;
    std::vector<std::byte> bytes = buffer_of(wire.substr(0, cut));
    const bool is_told = cut >= kHeaderBytes;
    EXPECT_EQ(reader.frame_bytes(bytes), is_told ? wire.size() : 0) << "before " << cut << " bytes";
    static_cast<void>(reader.consume(bytes, ReaderLimits{}, sink));
    const bool goes_on = is_told && cut < wire.size();
    EXPECT_EQ(reader.frame_bytes({}), goes_on ? wire.size() : 0) << "after " << cut << " bytes";
  }
}

TEST(MessageReader, SaysHowLargeTheFrameIsBetweenFragments) {
  MessageReader reader{Role::server};
  Recorder sink;
  std::vector<std::byte> bytes = buffer_of(frame({.payload = "a", .is_final = false}));
  static_cast<void>(reader.consume(bytes, ReaderLimits{}, sink));
  const std::string rest = frame({.opcode = 0, .payload = std::string(200, 'b')});
  EXPECT_EQ(reader.frame_bytes(buffer_of(rest)), rest.size());
}

TEST(MessageReader, AFragmentedMessageIsUnfinishedBetweenItsFrames) {
  MessageReader reader{Role::server};
  Recorder sink;
  std::vector<std::byte> bytes = buffer_of(frame({.payload = "a", .is_final = false}));
  static_cast<void>(reader.consume(bytes, ReaderLimits{}, sink));
  EXPECT_TRUE(reader.unfinished());
  EXPECT_EQ(reader.bytes_missing(), 0U);
  bytes = buffer_of(frame({.opcode = 9}));
  static_cast<void>(reader.consume(bytes, ReaderLimits{}, sink));
  EXPECT_TRUE(reader.unfinished());
  bytes = buffer_of(frame({.opcode = 0, .payload = "b"}));
  static_cast<void>(reader.consume(bytes, ReaderLimits{}, sink));
  EXPECT_FALSE(reader.unfinished());
  EXPECT_EQ(sink.events, (std::vector<std::string>{"ping:", "text:ab"}));
}

TEST(MessageReader, StopsAfterTheEventThatTheSinkRefusesToPass) {
  const std::string first = frame({.payload = "one"});
  const std::string second =
      frame({.payload = "t", .is_final = false}) + frame({.opcode = 0, .payload = "wo"});
  const std::string third = frame({.opcode = 9, .payload = "three"});
  const std::string wire = first + second + third + frame({.payload = "four"});
  const std::vector<std::size_t> ends = {first.size(), first.size() + second.size(),
                                         first.size() + second.size() + third.size()};
  std::vector<std::byte> bytes = buffer_of(wire);
  MessageReader reader{Role::server};
  Recorder sink;
  std::size_t at = 0;
  for (std::size_t i = 0; i < ends.size(); ++i) {
    sink.pause_after = i + 1;
    const auto result = reader.consume(std::span{bytes}.subspan(at), ReaderLimits{}, sink);
    ASSERT_EQ(result.status, ReadStatus::paused);
    at += result.consumed;
    ASSERT_EQ(at, ends[i]);
    ASSERT_EQ(sink.events.size(), i + 1);
  }
  sink.pause_after = SIZE_MAX;
  EXPECT_EQ(reader.consume(std::span{bytes}.subspan(at), ReaderLimits{}, sink).status,
            ReadStatus::drained);
  EXPECT_EQ(sink.events.back(), "text:four");
}

TEST(MessageReader, DropsEverythingAfterACloseFrameAndAfterAFault) {
  for (const std::string& end : {frame({.opcode = 8}), frame({.opcode = 3})}) {
    MessageReader reader{Role::server};
    Recorder sink;
    std::vector<std::byte> bytes = buffer_of(end + frame({.payload = "late"}));
    const auto result = reader.consume(bytes, ReaderLimits{}, sink);
    EXPECT_NE(result.status, ReadStatus::drained);
    EXPECT_LE(result.consumed, bytes.size());
    std::vector<std::byte> more = buffer_of(frame({.payload = "later"}));
    EXPECT_EQ(reader.consume(more, ReaderLimits{}, sink).status, ReadStatus::closed);
    EXPECT_LE(sink.events.size(), 1U);
    EXPECT_FALSE(reader.unfinished());
  }
}

TEST(MessageReader, MessageSizeHoldsAtTheLimitAndOnePastIt) {
  const ReaderLimits limits{.message_bytes_max = 1000};
  const std::string largest(1000, 'x');
  const auto fragmented = [](std::size_t first, std::size_t second) {
    return frame({.opcode = 2, .payload = std::string(first, 'x'), .is_final = false}) +
           frame({.opcode = 0, .payload = std::string(second, 'x')});
  };
  const std::vector<std::string> whole = {"binary:" + largest};
  const std::vector<std::string> refused = {"fail:1009"};
  for (const Cuts& cuts : {Cuts::whole(), Cuts::every(1), Cuts::every(17)}) {
    EXPECT_EQ(events_of(frame({.opcode = 2, .payload = largest}), limits, cuts), whole);
    EXPECT_EQ(events_of(frame({.opcode = 2, .payload = largest + 'x'}), limits, cuts), refused);
    EXPECT_EQ(events_of(fragmented(600, 400), limits, cuts), whole);
    EXPECT_EQ(events_of(fragmented(1000, 0), limits, cuts), whole);
    EXPECT_EQ(events_of(fragmented(600, 401), limits, cuts), refused);
    EXPECT_EQ(events_of(fragmented(1000, 1), limits, cuts), refused);
  }
}

TEST(MessageReader, AnOversizeMessageIsRefusedAtItsHeader) {
  for (const std::uint64_t announced : {(1ULL << 20) + 1, 1ULL << 40, (1ULL << 63) - 1}) {
    const std::string wire = tests::wire::header({.opcode = 2}, announced, true) + "keyk";
    EXPECT_EQ(events_of(wire, ReaderLimits{}, Cuts::whole()),
              std::vector<std::string>{"fail:1009"});
  }
}

TEST(MessageReader, FragmentCountHoldsAtTheLimitAndOnePastItAlsoForEmptyFragments) {
  const ReaderLimits limits{.fragments_max = 10};
  for (const std::string& piece : {std::string{}, std::string{"f"}}) {
    const auto message = [&piece](std::size_t fragments) {
      std::string wire = frame({.payload = piece, .is_final = false});
      for (std::size_t i = 2; i < fragments; ++i) {
        wire += frame({.opcode = 0, .payload = piece, .is_final = false});
      }
      return wire + frame({.opcode = 0, .payload = piece});
    };
    for (const Cuts& cuts : {Cuts::whole(), Cuts::every(1)}) {
      EXPECT_EQ(events_of(message(10), limits, cuts).back().substr(0, 5), "text:");
      EXPECT_EQ(events_of(message(11), limits, cuts), std::vector<std::string>{"fail:1009"});
    }
  }
}

TEST(MessageReader, AMillionEmptyContinuationsEndAtTheLimit) {
  std::string wire = frame({.payload = {}, .is_final = false});
  const std::string piece = frame({.opcode = 0, .is_final = false});
  for (int i = 0; i < 1'000'000; ++i) wire += piece;
  EXPECT_EQ(events_of(wire, ReaderLimits{}, Cuts::every(4096)),
            std::vector<std::string>{"fail:1009"});
}

TEST(MessageReader, AMovedReaderGoesOnWhereItWas) {
  const std::string wire = frame({.payload = "moved"});
  MessageReader first{Role::server};
  Recorder sink;
  std::vector<std::byte> head = buffer_of(wire.substr(0, 8));
  static_cast<void>(first.consume(head, ReaderLimits{}, sink));
  MessageReader second{std::move(first)};
  std::vector<std::byte> tail = buffer_of(wire.substr(8));
  static_cast<void>(second.consume(tail, ReaderLimits{}, sink));
  EXPECT_EQ(sink.events, std::vector<std::string>{"text:moved"});
}

}  // namespace
}  // namespace corelane
