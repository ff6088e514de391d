// Goal: the frame groups that WebSocket servers are commonly judged by (framing, pings, reserved
// bits and opcodes, fragmentation, UTF-8, close handling, limits), on the codec alone. Method: a
// table a group, written from RFC 6455; every stream is fed whole, byte by byte, cut in two at
// every place and at random, and must give the same events each time.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/seed.hpp"
#include "tests/unit/ws/wire.hpp"
#include "ws/message_reader.hpp"

namespace corelane {
namespace {

using tests::wire::close_payload;
using tests::wire::Cuts;
using tests::wire::events_of;
using tests::wire::frame;
using tests::wire::FrameSpec;
using tests::wire::Recorder;
using ws::MessageReader;
using ws::ReaderLimits;
using ws::Role;

using Events = std::vector<std::string>;

// Feeds the stream in every way.
void expect(const std::string& stream, const Events& events, const std::string& what,
            const ReaderLimits& limits = {.message_bytes_max = std::size_t{16} << 20}) {
  SCOPED_TRACE(what);
  tests::Prng prng{stream.size()};
  EXPECT_EQ(events_of(stream, limits, Cuts::whole()), events) << "whole";
  EXPECT_EQ(events_of(stream, limits, Cuts::every(997)), events) << "in pieces of 997";
  if (stream.size() <= 200'000) {
    EXPECT_EQ(events_of(stream, limits, Cuts::every(1)), events) << "byte by byte";
  }
  for (int i = 0; i < 4; ++i) EXPECT_EQ(events_of(stream, limits, Cuts::random(prng)), events);
  if (stream.size() > 400) return;
  for (std::size_t at = 1; at < stream.size(); ++at) {
    MessageReader reader{Role::server};
    Recorder sink;
    tests::wire::feed(reader, sink, stream.substr(0, at), limits, Cuts::whole());
    if (sink.events.empty() || sink.events.back().substr(0, 5) != "fail:") {
      tests::wire::feed(reader, sink, stream.substr(at), limits, Cuts::whole());
    }
    EXPECT_EQ(sink.events, events) << "cut at " << at;
  }
}

std::string text(std::string payload) {
  return frame({.opcode = 1, .payload = std::move(payload)});
}

TEST(WsCodec, Group1DataFramesOfAllLengthForms) {
  for (const std::size_t size : {0U, 125U, 126U, 127U, 128U, 65535U, 65536U}) {
    const std::string payload(size, '*');
    expect(text(payload), {"text:" + payload}, "text " + std::to_string(size));
    expect(frame({.opcode = 2, .payload = payload}), {"binary:" + payload},
           "binary " + std::to_string(size));
  }
}

TEST(WsCodec, Group2PingsAndPongs) {
  const std::string binary = std::string("\x00\xFF\xFE\xFD\xFC\xFB\x00\xFF", 8);
  expect(frame({.opcode = 9}), {"ping:"}, "empty ping");
  expect(frame({.opcode = 9, .payload = "Hello"}), {"ping:Hello"}, "text ping");
  expect(frame({.opcode = 9, .payload = binary}), {"ping:" + binary}, "binary ping");
  expect(frame({.opcode = 9, .payload = std::string(125, '\xFE')}),
         {"ping:" + std::string(125, '\xFE')}, "125 bytes");
  expect(frame({.opcode = 9, .payload = std::string(126, '\xFE')}), {"fail:1002"}, "126 bytes");
  expect(frame({.opcode = 10}), {"pong:"}, "unsolicited pong");
  expect(frame({.opcode = 10, .payload = "x"}) + frame({.opcode = 9, .payload = "y"}),
         {"pong:x", "ping:y"}, "unsolicited pong, then ping");
  std::string ten;
  Events events;
  for (int i = 0; i < 10; ++i) {
    ten += frame({.opcode = 9, .payload = "payload-" + std::to_string(i)});
    events.push_back("ping:payload-" + std::to_string(i));
  }
  expect(ten, events, "ten pings");
}

TEST(WsCodec, Group3ReservedBits) {
  for (unsigned rsv = 1; rsv <= 7; ++rsv) {
    expect(text("ok") + frame({.opcode = 1, .payload = "bad", .rsv = rsv}) + text("never"),
           {"text:ok", "fail:1002"}, "text, rsv " + std::to_string(rsv));
    for (const unsigned opcode : {0U, 2U, 8U, 9U, 10U}) {
      expect(frame({.opcode = opcode, .rsv = rsv}), {"fail:1002"},
             "opcode " + std::to_string(opcode));
    }
  }
}

TEST(WsCodec, Group4ReservedOpcodes) {
  for (const unsigned opcode : {3U, 4U, 5U, 6U, 7U, 11U, 12U, 13U, 14U, 15U}) {
    const std::string what = "opcode " + std::to_string(opcode);
    expect(frame({.opcode = opcode}), {"fail:1002"}, what);
    expect(text("ok") + frame({.opcode = opcode, .payload = "reserved"}) + frame({.opcode = 9}),
           {"text:ok", "fail:1002"}, what + " after text");
  }
}

FrameSpec begin(std::string payload, unsigned opcode = 1) {
  return {.opcode = opcode, .payload = std::move(payload), .is_final = false};
}
FrameSpec next(std::string payload) {
  return {.opcode = 0, .payload = std::move(payload), .is_final = false};
}
FrameSpec last(std::string payload) {
  return {.opcode = 0, .payload = std::move(payload)};
}
FrameSpec ping(std::string payload) {
  return {.opcode = 9, .payload = std::move(payload)};
}

std::string stream_of(std::initializer_list<FrameSpec> specs) {
  std::string stream;
  for (const FrameSpec& spec : specs) stream += frame(spec);
  return stream;
}

TEST(WsCodec, Group5Fragmentation) {
  expect(frame({.opcode = 9, .payload = "p", .is_final = false}) + frame(last("q")), {"fail:1002"},
         "fragmented ping");
  expect(frame({.opcode = 10, .payload = "p", .is_final = false}) + frame(last("q")), {"fail:1002"},
         "fragmented pong");
  expect(frame({.opcode = 8, .is_final = false}), {"fail:1002"}, "fragmented close");
  expect(stream_of({begin("ab"), last("cd")}), {"text:abcd"}, "two fragments");
  expect(stream_of({begin("ab", 2), last("cd")}), {"binary:abcd"}, "two binary fragments");
  expect(stream_of({begin("ab"), ping("1"), last("cd")}), {"ping:1", "text:abcd"}, "ping between");
  expect(stream_of({begin("a"), ping("1"), next("b"), next("c"), ping("2"), last("d")}),
         {"ping:1", "ping:2", "text:abcd"}, "five fragments, two pings");
  expect(stream_of({begin(""), next(""), last("")}), {"text:"}, "three empty fragments");
  expect(stream_of({begin("", 2), next(""), last("x")}), {"binary:x"}, "empty, empty, x");
  expect(stream_of({next("stray")}) + text("never"), {"fail:1002"}, "stray continuation");
  expect(stream_of({last("stray")}) + text("never"), {"fail:1002"}, "stray final continuation");
  expect(text("ok") + stream_of({last("stray")}), {"text:ok", "fail:1002"}, "stray after text");
  expect(stream_of({begin("a"), last("b"), next("c")}), {"text:ab", "fail:1002"},
         "stray after a fragmented message");
  expect(stream_of({begin("a")}) + text("b"), {"fail:1002"}, "a new message in the middle of one");
  expect(stream_of({begin("a"), begin("b", 2)}), {"fail:1002"}, "two beginnings");
  expect(stream_of({begin("a"), last("b"), begin("c"), last("d")}), {"text:ab", "text:cd"},
         "two messages");
  expect(stream_of({begin("a"), ping("1"), last("b"), begin("c"), ping("2"), last("d")}),
         {"ping:1", "text:ab", "ping:2", "text:cd"}, "two messages with pings");
  expect(stream_of({begin("a"), {.opcode = 8, .payload = close_payload(1000)}, last("b")}),
         {"close:1000:"}, "close in the middle of a message");
}

TEST(WsCodec, MaskingFollowsTheRole) {
  expect(frame({.payload = "x", .masked = 0}), {"fail:1002"}, "an unmasked frame of a client");
  expect(frame({.opcode = 9, .masked = 0}), {"fail:1002"}, "an unmasked ping of a client");
  for (const int is_masked : {0, 1}) {
    MessageReader reader{Role::client};
    Recorder sink;
    tests::wire::feed(reader, sink, frame({.payload = "x", .masked = is_masked}), ReaderLimits{},
                      Cuts::every(1));
    EXPECT_EQ(sink.events, Events{is_masked != 0 ? "fail:1002" : "text:x"});
  }
}

TEST(WsCodec, LengthsInLongerFormsThanNeededAreRefused) {
  for (const auto& [form, size] : std::vector<std::pair<int, std::size_t>>{
           {2, 0}, {2, 1}, {2, 125}, {8, 0}, {8, 125}, {8, 126}, {8, 65535}}) {
    expect(frame({.opcode = 2, .payload = std::string(size, 'n'), .length_bytes = form}),
           {"fail:1002"}, std::to_string(size) + " in " + std::to_string(form));
  }
  expect(tests::wire::header({.opcode = 2}, 1ULL << 63, true), {"fail:1002"}, "top bit set");
}

struct Utf8Case {
  std::string bytes;
  bool is_valid;
};

std::vector<Utf8Case> utf8_cases() {
  using namespace std::string_literals;
  std::vector<Utf8Case> cases;
  const auto valid = [&cases](std::initializer_list<std::string> all) {
    for (const std::string& bytes : all) cases.push_back({bytes, true});
  };
  const auto invalid = [&cases](std::initializer_list<std::string> all) {
    for (const std::string& bytes : all) cases.push_back({bytes, false});
  };
  // Texts, first and last code point of each length, around the surrogates, the last of all.
  valid({"Hello-\xC2\xB5@\xC3\x9F\xC3\xB6\xC3\xA4\xC3\xBC\xC3\xA0\xC3\xA1-UTF-8!!"s,
         "\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5"s, "\x00"s, "\x7F"s, "\xC2\x80"s,
         "\xDF\xBF"s, "\xE0\xA0\x80"s, "\xEF\xBF\xBF"s, "\xF0\x90\x80\x80"s, "\xF4\x8F\xBF\xBF"s,
         "\xED\x9F\xBF"s, "\xEE\x80\x80"s, "\xEF\xBF\xBD"s, "\xEF\xBF\xBE"s, "\xF0\x9F\xBF\xBE"s,
         "\xF3\xBF\xBF\xBF"s, "\xEF\xBB\xBF"s});
  // Stray continuations, one to seven, and all of them.
  for (std::size_t count = 1; count <= 7; ++count) invalid({std::string(count, '\x80')});
  invalid({"\xBF"s, "\x80\xBF"s});
  for (unsigned byte = 0x80; byte <= 0xBF; ++byte)
    invalid({std::string(1, static_cast<char>(byte))});
  // Leads without continuation: each alone and each before a space.
  for (unsigned byte = 0xC0; byte <= 0xFF; ++byte) {
    invalid(
        {std::string(1, static_cast<char>(byte)), std::string(1, static_cast<char>(byte)) + " "});
  }
  // Sequences without their last byte, one by one and run together.
  invalid({"\xC2"s, "\xE0\xA0"s, "\xF0\x90\x80"s, "\xDF"s, "\xEF\xBF"s, "\xF3\xBF\xBF"s,
           "\xC2\xE0\xA0\xF0\x90\x80\xDF\xEF\xBF"s});
  // Lengths of five and six, above the end of Unicode, impossible bytes.
  invalid({"\xF8\x88\x80\x80\x80"s, "\xFC\x84\x80\x80\x80\x80"s, "\xFB\xBF\xBF\xBF\xBF"s,
           "\xFD\xBF\xBF\xBF\xBF\xBF"s, "\xF4\x90\x80\x80"s, "\xF5\x80\x80\x80"s,
           "\xF7\xBF\xBF\xBF"s, "\xFE"s, "\xFF"s, "\xFE\xFE\xFF\xFF"s});
  // Overlong forms of slash, of the last of each length, of NUL.
  invalid({"\xC0\xAF"s, "\xE0\x80\xAF"s, "\xF0\x80\x80\xAF"s, "\xF8\x80\x80\x80\xAF"s,
           "\xFC\x80\x80\x80\x80\xAF"s, "\xC1\xBF"s, "\xE0\x9F\xBF"s, "\xF0\x8F\xBF\xBF"s,
           "\xC0\x80"s, "\xE0\x80\x80"s, "\xF0\x80\x80\x80"s});
  // Surrogates, single and in pairs.
  invalid({"\xED\xA0\x80"s, "\xED\xAD\xBF"s, "\xED\xAE\x80"s, "\xED\xAF\xBF"s, "\xED\xB0\x80"s,
           "\xED\xBE\x80"s, "\xED\xBF\xBF"s, "\xED\xA0\x80\xED\xB0\x80"s,
           "\xED\xAF\xBF\xED\xBF\xBF"s});
  return cases;
}

TEST(WsCodec, Group6Utf8FamiliesWholeAndFragmentedAtEveryByte) {
  for (const Utf8Case& c : utf8_cases()) {
    for (const std::string& around : {std::string{}, std::string{"ab"}, std::string(70, 'x')}) {
      const std::string payload = around + c.bytes + around;
      const Events expected = {c.is_valid ? "text:" + payload : "fail:1007"};
      expect(text(payload), expected, testing::PrintToString(payload));
      std::string pieces = frame(begin({}));
      for (const char byte : payload) pieces += frame(next({byte}));
      pieces += frame(last({}));
      ASSERT_EQ(events_of(pieces, {}, Cuts::whole()), expected) << testing::PrintToString(payload);
      ASSERT_EQ(events_of(frame({.opcode = 2, .payload = payload}), {}, Cuts::whole()),
                Events{"binary:" + payload});
    }
  }
}

// A byte that cannot be is refused when it arrives, though the frame and message go on.
TEST(WsCodec, Group6FailsFastInTheMiddleOfAFrame) {
  const std::string good = "\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5";
  for (const std::string& bad :
       {std::string{"\xF4\x90"}, std::string{"\xED\xA0"}, std::string{"\xC0"}, std::string{"\xFF"},
        std::string{"\xE2\x28"}}) {
    const std::string payload = good + bad + "\x80\x80" + "edited";
    const std::string whole = frame({.payload = payload});
    const std::size_t header_bytes = whole.size() - payload.size();
    const std::size_t first_bad = header_bytes + good.size() + bad.size() - 1;
    MessageReader reader{Role::server};
    Recorder sink;
    for (std::size_t at = 0; at <= first_bad; ++at) {
      EXPECT_TRUE(sink.events.empty()) << at;
      tests::wire::feed(reader, sink, whole.substr(at, 1), ReaderLimits{}, Cuts::whole());
    }
    EXPECT_EQ(sink.events, Events{"fail:1007"});
  }
}

TEST(WsCodec, Group6FailsFastAcrossFragmentsBeforeTheMessageEnds) {
  expect(stream_of({begin("\xCE\xBA"), next("\xF4"), next("\x90"), ping("never")}), {"fail:1007"},
         "F4 90 in two fragments");
  expect(stream_of({begin("\xCE"), ping("split"), last("\xBA")}), {"ping:split", "text:\xCE\xBA"},
         "a code point across fragments");
  expect(stream_of({begin("\xCE"), last("")}), {"fail:1007"}, "a code point left open");
}

FrameSpec close(std::string payload) {
  return {.opcode = 8, .payload = std::move(payload)};
}

TEST(WsCodec, Group7CloseFrames) {
  expect(stream_of({close("")}), {"close:1005:"}, "empty");
  expect(stream_of({close("\x03")}), {"fail:1002"}, "one byte");
  expect(stream_of({close(close_payload(1000))}), {"close:1000:"}, "code only");
  expect(stream_of({close(close_payload(1000, "bye"))}), {"close:1000:bye"}, "with reason");
  expect(stream_of({close(close_payload(1000, std::string(123, 'r')))}),
         {"close:1000:" + std::string(123, 'r')}, "longest reason");
  expect(stream_of({close(close_payload(1000, std::string(124, 'r')))}), {"fail:1002"},
         "126 bytes");
  expect(stream_of({close(close_payload(1000, "\xCE\xBA\xED\xA0\x80"))}), {"fail:1007"},
         "a reason that is not UTF-8");
  expect(text("a") + stream_of({close(close_payload(1001))}) + text("b"), {"text:a", "close:1001:"},
         "nothing after close is heard");
  expect(stream_of({close(""), close("")}), {"close:1005:"}, "two closes");
  expect(stream_of({close(""), ping("late")}), {"close:1005:"}, "ping after close");
  for (const unsigned code : {1000U, 1001U, 1002U, 1003U, 1007U, 1008U, 1009U, 1010U, 1011U, 1012U,
                              1013U, 1014U, 3000U, 3999U, 4000U, 4999U}) {
    expect(stream_of({close(close_payload(code))}), {"close:" + std::to_string(code) + ":"},
           std::to_string(code));
  }
  for (const unsigned code :
       {0U, 999U, 1004U, 1005U, 1006U, 1015U, 1016U, 1100U, 2000U, 2999U, 5000U, 65535U}) {
    expect(stream_of({close(close_payload(code))}), {"fail:1002"}, std::to_string(code));
  }
}

TEST(WsCodec, Group9LargeMessages) {
  for (const std::size_t size :
       {std::size_t{64} << 10, std::size_t{1} << 20, std::size_t{16} << 20}) {
    const std::string payload(size, 'L');
    expect(frame({.opcode = 2, .payload = payload}), {"binary:" + payload}, std::to_string(size));
    expect(text(payload), {"text:" + payload}, std::to_string(size));
  }
  const std::string payload(std::size_t{4} << 20, 'F');
  for (const std::size_t piece :
       {std::size_t{4} << 10, std::size_t{64} << 10, std::size_t{1} << 20}) {
    std::string stream = frame(begin({}));
    for (std::size_t at = 0; at < payload.size(); at += piece) {
      stream += frame(next(payload.substr(at, piece)));
    }
    stream += frame(last({}));
    expect(stream, {"text:" + payload}, "fragments of " + std::to_string(piece),
           {.message_bytes_max = std::size_t{4} << 20, .fragments_max = 2000});
  }
}

TEST(WsCodec, Group10AThousandFramesAreOneMessage) {
  std::string stream = frame(begin("0"));
  std::string whole = "0";
  for (int i = 1; i < 1023; ++i) {
    stream += frame(next("x"));
    whole += 'x';
  }
  stream += frame(last("!"));
  expect(stream, {"text:" + whole + "!"}, "1024 fragments");
}

}  // namespace
}  // namespace corelane
