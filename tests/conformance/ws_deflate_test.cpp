// Goal: compressed messages arrive as what they were, in every negotiated mode, whole, fragmented
// and between uncompressed ones, and their faults get the right close code. Method: streams written
// by our Deflater and by hand, cut in every way, read by a MessageReader with an Inflater.
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "tests/support/seed.hpp"
#include "tests/unit/ws/wire.hpp"
#include "ws/deflate.hpp"
#include "ws/message_reader.hpp"

namespace corelane {
namespace {

using tests::wire::as_bytes;
using tests::wire::as_string;
using tests::wire::Cuts;
using tests::wire::frame;
using tests::wire::Recorder;
using ws::Deflater;
using ws::Inflater;
using ws::MessageReader;
using ws::ReaderLimits;
using ws::Role;

using Events = std::vector<std::string>;
constexpr unsigned kRsv1 = 4;

std::string deflated(Deflater& deflater, std::string_view message) {
  ws::OwnedBytes bytes;
  deflater.deflate(as_bytes(message), bytes);
  return as_string(bytes.bytes());
}

Events run(std::string_view stream, const Cuts& cuts, bool no_takeover = false,
           const ReaderLimits& limits = {}) {
  MessageReader reader{Role::server, true};
  Inflater inflater{15, no_takeover};
  Recorder sink;
  sink.inflater_in_use = &inflater;
  tests::wire::feed(reader, sink, stream, limits, cuts);
  return sink.events;
}

void expect(std::string_view stream, const Events& events, const ReaderLimits& limits = {}) {
  tests::Prng prng{stream.size()};
  EXPECT_EQ(run(stream, Cuts::whole(), false, limits), events);
  EXPECT_EQ(run(stream, Cuts::every(1), false, limits), events);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(run(stream, Cuts::random(prng), false, limits), events);
}

// A compressed message in frames of at most `piece` bytes; RSV1 on the first only.
std::string fragmented(std::string_view compressed, std::size_t piece, unsigned opcode) {
  std::string stream;
  for (bool is_first = true; is_first || !compressed.empty(); is_first = false) {
    const std::string_view part = compressed.substr(0, piece);
    compressed.remove_prefix(part.size());
    stream += frame({.opcode = is_first ? opcode : 0,
                     .payload = std::string{part},
                     .is_final = compressed.empty(),
                     .rsv = is_first ? kRsv1 : 0});
  }
  return stream;
}

std::string payload_of_kind(tests::Prng& prng, std::size_t kind, std::size_t size) {
  std::string payload;
  while (payload.size() < size) {
    if (kind == 0) payload += "the same words over and over, ";
    if (kind == 1) payload += "{\"id\":" + std::to_string(prng.below(100000)) + ",\"ok\":true},";
    if (kind == 2) payload.push_back(static_cast<char>('a' + prng.below(26)));
    if (kind == 3) payload.push_back(static_cast<char>(prng.next()));
  }
  payload.resize(size);
  return payload;
}

TEST(WsDeflate, Groups12And13EveryKindSizeFragmentAndMode) {
  const tests::Seed seed = tests::test_seed();
  tests::Prng prng = seed.prng();
  for (const bool no_takeover : {false, true}) {
    for (const std::uint8_t window_bits : std::array<std::uint8_t, 2>{9, 15}) {
      for (std::size_t kind = 0; kind < 4; ++kind) {
        Deflater deflater{window_bits, no_takeover};
        std::string stream;
        Events events;
        for (const std::size_t size : {0U, 16U, 64U, 256U, 1024U, 8192U, 65536U, 131072U}) {
          for (const std::size_t piece : {SIZE_MAX, std::size_t{256}}) {
            const std::string payload = payload_of_kind(prng, kind, size);
            stream += fragmented(deflated(deflater, payload), piece, 2);
            events.push_back("binary:" + payload);
          }
        }
        ASSERT_EQ(run(stream, Cuts::whole(), no_takeover), events);
        ASSERT_EQ(run(stream, Cuts::every(1000), no_takeover), events);
        ASSERT_EQ(run(stream, Cuts::random(prng), no_takeover), events);
      }
    }
  }
}

TEST(WsDeflate, CompressedAndPlainMessagesMix) {
  // One after the other: with takeover the second refers to the first.
  Deflater deflater{15, false};
  std::string stream = frame({.payload = "plain"});
  stream += fragmented(deflated(deflater, "compressed"), SIZE_MAX, 1);
  stream += frame({.opcode = 9, .payload = "p"});
  stream += fragmented(deflated(deflater, "compressed"), 3, 1);
  stream += frame({.payload = "pla", .is_final = false}) + frame({.opcode = 0, .payload = "in"});
  stream += fragmented(deflated(deflater, ""), SIZE_MAX, 1);
  stream += frame({.payload = {}, .rsv = kRsv1});
  expect(stream, {"text:plain", "text:compressed", "ping:p", "text:compressed", "text:plain",
                  "text:", "text:"});
}

TEST(WsDeflate, ControlFramesBetweenCompressedFragments) {
  Deflater deflater{15, false};
  const std::string compressed = deflated(deflater, "between the fragments");
  const std::string stream =
      frame({.payload = compressed.substr(0, 4), .is_final = false, .rsv = kRsv1}) +
      frame({.opcode = 9, .payload = "now"}) +
      frame({.opcode = 0, .payload = compressed.substr(4)});
  expect(stream, {"ping:now", "text:between the fragments"});
}

TEST(WsDeflate, Rsv1BelongsToTheFirstDataFrame) {
  Deflater deflater{15, false};
  const std::string compressed = deflated(deflater, "compressed");
  expect(frame({.payload = compressed.substr(0, 4), .is_final = false, .rsv = kRsv1}) +
             frame({.opcode = 0, .payload = compressed.substr(4), .rsv = kRsv1}),
         {"fail:1002"});
  for (const unsigned opcode : {8U, 9U, 10U}) {
    expect(frame({.opcode = opcode, .rsv = kRsv1}), {"fail:1002"});
  }
  for (const unsigned rsv : {1U, 2U, 3U, 5U, 6U, 7U}) {
    expect(frame({.payload = compressed, .rsv = rsv}), {"fail:1002"});
  }
}

TEST(WsDeflate, FaultsInsideTheCompressedBytes) {
  Deflater deflater{15, true};
  expect(frame({.payload = "\xFF\xFF\xFF\xFF", .rsv = kRsv1}), {"fail:1007"});
  expect(fragmented(deflated(deflater, "text that is \xED\xA0\x80 no text"), SIZE_MAX, 1),
         {"fail:1007"});
  expect(fragmented(deflated(deflater, "cut \xE2\x82"), 2, 1), {"fail:1007"});
  const std::string binary = "binary may be \xED\xA0\x80 anything";
  expect(fragmented(deflated(deflater, binary), SIZE_MAX, 2), {"binary:" + binary});
}

TEST(WsDeflate, TheMessageLimitHoldsAfterInflation) {
  Deflater deflater{15, true};
  const ReaderLimits limits{.message_bytes_max = 5000};
  const std::string largest(5000, 'z');
  for (const std::size_t piece : {SIZE_MAX, std::size_t{5}}) {
    expect(fragmented(deflated(deflater, largest), piece, 2), {"binary:" + largest}, limits);
    expect(fragmented(deflated(deflater, largest + 'z'), piece, 2), {"fail:1009"}, limits);
  }
  tests::Prng prng{1};
  const std::string noise = payload_of_kind(prng, 3, 5000);
  expect(fragmented(deflated(deflater, noise), SIZE_MAX, 2), {"binary:" + noise}, limits);
  // Compressed bytes alone are bounded as well, at the header.
  expect(tests::wire::header({.opcode = 2, .rsv = kRsv1}, 6000, true) + "keyk", {"fail:1009"},
         limits);
}

TEST(WsDeflate, AnInflatedMessageCanBeKeptAndHasRoom) {
  struct KeepingSink {
    Inflater inflater_{15, true};
    ws::OwnedBytes kept;
    std::size_t room = 0;
    bool on_message(ws::Message message) {
      EXPECT_TRUE(message.is_owned());
      room = message.header_room();
      kept = message.take_or_copy();
      return true;
    }
    bool on_ping(std::span<const std::byte>) { return true; }
    bool on_pong(std::span<const std::byte>) { return true; }
    bool on_close(ws::CloseCode, std::string_view) { return true; }
    Inflater& inflater() { return inflater_; }
  };
  Deflater deflater{15, true};
  std::string stream = fragmented(deflated(deflater, "keep me"), SIZE_MAX, 1);
  MessageReader reader{Role::server, true};
  KeepingSink sink;
  const auto bytes = std::span{reinterpret_cast<std::byte*>(stream.data()), stream.size()};
  EXPECT_EQ(reader.consume(bytes, ReaderLimits{}, sink).status, ws::ReadStatus::drained);
  EXPECT_EQ(as_string(sink.kept.bytes()), "keep me");
  EXPECT_GE(sink.room, ws::kServerHeaderBytesMax);
}

}  // namespace
}  // namespace corelane
