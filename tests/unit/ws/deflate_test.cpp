// Goal: permessage-deflate is negotiated as RFC 7692 section 7.1 says and never beyond what zlib
// can do; messages survive both directions in every mode; inflation keeps its bound while it runs.
// Method: a table of offers and answers, the RFC's own vectors, round trips over all windows,
// bombs.
#include "ws/deflate.hpp"

#include <gtest/gtest.h>
#include <zlib.h>

#include <ctime>
#include <string>
#include <vector>

#include "tests/support/seed.hpp"
#include "tests/unit/ws/wire.hpp"
#include "ws/message_reader.hpp"

namespace corelane {
namespace {

using tests::wire::as_bytes;
using tests::wire::as_string;
using ws::DeflatePolicy;
using ws::Deflater;
using ws::Inflater;
using ws::InflateStatus;

constexpr DeflatePolicy kOn{.is_enabled = true};

// Processor time, with a margin: neighbours take cache and memory bandwidth too, and instrumented
// builds run several times slower. What the bounds stand against is far above them: quadratic time,
// a bomb inflated to its end.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr double kSlowness = 100;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr double kSlowness = 100;
#else
constexpr double kSlowness = 10;
#endif
#else
constexpr double kSlowness = 10;
#endif

double cpu_ms() {
  timespec now{};
  // tidy: allow banned_call: the cost of pure code, in no runtime
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}

// The least of five runs: what it costs, not what the neighbours do.
template <class Work>
double least_cpu_ms(Work work) {
  double least = 1e9;
  for (int i = 0; i < 5; ++i) {
    const double start = cpu_ms();
    work();
    least = std::min(least, cpu_ms() - start);
  }
  return least;
}

// The answer to the offers in `lines`; "-": no compression, "!": the grammar is broken.
std::string answer_to(std::vector<std::string_view> lines, const DeflatePolicy& policy = kOn) {
  ws::DeflateOffers offers{policy};
  for (const std::string_view line : lines) {
    if (!offers.read_line(line)) return "!";
  }
  if (!offers.accepted()) return "-";
  std::string answer;
  ws::write_deflate_answer(answer, *offers.accepted());
  return answer;
}

TEST(DeflateOffers, EachOfferGetsItsAnswer) {
  const std::string plain = "permessage-deflate";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"permessage-deflate", plain},
      {"Permessage-Deflate", plain},
      {"permessage-deflate; client_max_window_bits", plain},
      {"permessage-deflate;client_max_window_bits=15", plain},
      {"permessage-deflate; client_max_window_bits=10", plain + "; client_max_window_bits=10"},
      {"permessage-deflate; client_max_window_bits=8", plain + "; client_max_window_bits=8"},
      {"permessage-deflate; client_max_window_bits=\"9\"", plain + "; client_max_window_bits=9"},
      {"permessage-deflate; server_max_window_bits=10", plain + "; server_max_window_bits=10"},
      {"permessage-deflate; server_max_window_bits=15", plain + "; server_max_window_bits=15"},
      {"permessage-deflate; server_max_window_bits=9", plain + "; server_max_window_bits=9"},
      {"permessage-deflate; server_no_context_takeover", plain + "; server_no_context_takeover"},
      {"permessage-deflate; client_no_context_takeover", plain + "; client_no_context_takeover"},
      // Declined: what zlib cannot write, and what is not defined.
      {"permessage-deflate; server_max_window_bits=8", "-"},
      {"permessage-deflate; server_max_window_bits", "-"},
      {"permessage-deflate; server_max_window_bits=7", "-"},
      {"permessage-deflate; server_max_window_bits=16", "-"},
      {"permessage-deflate; server_max_window_bits=010", "-"},
      {"permessage-deflate; server_max_window_bits=1x", "-"},
      {"permessage-deflate; client_max_window_bits=7", "-"},
      {"permessage-deflate; client_max_window_bits=16", "-"},
      {"permessage-deflate; client_max_window_bits=99999999999999999999", "-"},
      {"permessage-deflate; server_no_context_takeover=1", "-"},
      {"permessage-deflate; client_no_context_takeover=true", "-"},
      {"permessage-deflate; unknown", "-"},
      {"permessage-deflate; client_max_window_bits; client_max_window_bits", "-"},
      {"permessage-deflate; server_no_context_takeover; server_no_context_takeover", "-"},
      {"x-webkit-deflate-frame", "-"},
      {"permessage-bzip2", "-"},
      {"", "-"},
      // The next offer is tried.
      {"permessage-deflate; server_max_window_bits=8, permessage-deflate", plain},
      {"permessage-deflate; unknown=1, permessage-deflate; client_no_context_takeover",
       plain + "; client_no_context_takeover"},
      {"foo; a=1; b=\"x\", permessage-deflate, bar", plain},
      {"permessage-deflate; server_max_window_bits=12, permessage-deflate",
       plain + "; server_max_window_bits=12"},
      // Broken grammar.
      {"permessage-deflate;", "!"},
      {"permessage-deflate; =1", "!"},
      {"permessage-deflate; server_max_window_bits=", "!"},
      {"permessage-deflate; server_max_window_bits=\"10", "!"},
      {"permessage-deflate; server_max_window_bits=\"\"", "!"},
      {"permessage-deflate foo", "!"},
      {"permessage-deflate/1", "!"},
      {"; a", "!"},
  };
  for (const auto& [offer, answer] : cases) EXPECT_EQ(answer_to({offer}), answer) << offer;
}

TEST(DeflateOffers, OffersInSeveralLinesAreOneList) {
  EXPECT_EQ(
      answer_to({"foo", "permessage-deflate; server_max_window_bits=8", "permessage-deflate"}),
      "permessage-deflate");
}

TEST(DeflateOffers, ThePolicyLowersWhatItMay) {
  const DeflatePolicy small{.is_enabled = true,
                            .server_no_context_takeover = true,
                            .client_no_context_takeover = true,
                            .server_window_bits_max = 10,
                            .client_window_bits_max = 11};
  EXPECT_EQ(answer_to({"permessage-deflate; client_max_window_bits"}, small),
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
            "server_max_window_bits=10; client_max_window_bits=11");
  EXPECT_EQ(answer_to({"permessage-deflate; server_max_window_bits=9"}, small),
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
            "server_max_window_bits=9")
      << "client_max_window_bits may only be answered if it was offered";
  EXPECT_EQ(answer_to({"permessage-deflate"}, DeflatePolicy{}), "-");
}

TEST(DeflateOffers, EightKibibytesOfOffersAreReadInLinearTime) {
  const std::vector<std::string> pieces = {",",
                                           ";a",
                                           "permessage-deflate,",
                                           "permessage-deflate;x=\"\\\"\\\"\",",
                                           "permessage-deflate;server_max_window_bits=8,",
                                           "a;b=\"",
                                           "\t \t"};
  for (const std::string& piece : pieces) {
    std::string line = "a";
    while (line.size() < 8192) line += piece;
    EXPECT_LE(least_cpu_ms([&line] { static_cast<void>(answer_to({line})); }), 1.0 * kSlowness)
        << piece;
  }
}

TEST(DeflateAnswer, TheClientChecksItAgainstItsOffer) {
  const DeflatePolicy narrow{.is_enabled = true, .server_window_bits_max = 10};
  const DeflatePolicy no_takeover{.is_enabled = true, .server_no_context_takeover = true};
  EXPECT_TRUE(ws::read_deflate_answer("permessage-deflate", kOn));
  EXPECT_TRUE(ws::read_deflate_answer("permessage-deflate; server_max_window_bits=8", kOn));
  EXPECT_EQ(ws::read_deflate_answer("permessage-deflate; client_max_window_bits=9", kOn)
                ->client_window_bits,
            9);
  EXPECT_TRUE(ws::read_deflate_answer("permessage-deflate; server_max_window_bits=9", narrow));
  EXPECT_FALSE(ws::read_deflate_answer("permessage-deflate; server_max_window_bits=11", narrow));
  EXPECT_FALSE(ws::read_deflate_answer("permessage-deflate", narrow))
      << "asked for and not granted";
  EXPECT_FALSE(ws::read_deflate_answer("permessage-deflate", no_takeover));
  EXPECT_FALSE(ws::read_deflate_answer("permessage-deflate; client_max_window_bits=8", kOn));
  EXPECT_FALSE(ws::read_deflate_answer("permessage-deflate; client_max_window_bits", kOn));
  EXPECT_FALSE(ws::read_deflate_answer("permessage-deflate; unknown", kOn));
  EXPECT_FALSE(ws::read_deflate_answer("permessage-deflate, permessage-deflate", kOn));
  EXPECT_FALSE(ws::read_deflate_answer("permessage-bzip2", kOn));
  EXPECT_FALSE(ws::read_deflate_answer("", kOn));
  EXPECT_FALSE(ws::read_deflate_answer("permessage-deflate", DeflatePolicy{}));
}

TEST(DeflateAnswer, EveryAnswerOfOurServerSatisfiesOurClient) {
  for (std::uint8_t server_bits = 9; server_bits <= 15; ++server_bits) {
    for (std::uint8_t client_bits = 9; client_bits <= 15; ++client_bits) {
      for (int flags = 0; flags < 4; ++flags) {
        const DeflatePolicy client{.is_enabled = true,
                                   .server_no_context_takeover = (flags & 1) != 0,
                                   .client_no_context_takeover = (flags & 2) != 0,
                                   .server_window_bits_max = server_bits,
                                   .client_window_bits_max = client_bits};
        std::string offer;
        ws::write_deflate_offer(offer, client);
        ws::DeflateOffers offers{kOn};
        ASSERT_TRUE(offers.read_line(offer));
        ASSERT_TRUE(offers.accepted());
        std::string answer;
        ws::write_deflate_answer(answer, *offers.accepted());
        const auto agreed = ws::read_deflate_answer(answer, client);
        ASSERT_TRUE(agreed) << offer << " / " << answer;
        EXPECT_EQ(agreed->server_window_bits, offers.accepted()->server_window_bits);
        EXPECT_EQ(agreed->client_window_bits, offers.accepted()->client_window_bits);
      }
    }
  }
}

std::string inflated(Inflater& inflater, std::string_view compressed,
                     std::size_t bytes_max = std::size_t{1} << 20) {
  const InflateStatus status = inflater.inflate(as_bytes(compressed), bytes_max);
  if (status == InflateStatus::too_big) return "too big";
  if (status == InflateStatus::invalid) return "invalid";
  return as_string(inflater.output().bytes());
}

std::string deflated(Deflater& deflater, std::string_view message) {
  ws::OwnedBytes bytes;
  deflater.deflate(as_bytes(message), bytes);
  return as_string(bytes.bytes());
}

// RFC 7692 section 7.2.3: all of its examples.
TEST(Inflater, ReadsTheExamplesOfTheRfc) {
  using namespace std::string_literals;
  const std::vector<std::string> hellos = {
      "\xF2\x48\xCD\xC9\xC9\x07\x00"s,                          // 7.2.3.1
      "\x00\x05\x00\xFA\xFF\x48\x65\x6C\x6C\x6F\x00"s,          // 7.2.3.3, stored
      "\xF3\x48\xCD\xC9\xC9\x07\x00\x00"s,                      // 7.2.3.4, final block
      "\xF2\x48\x05\x00\x00\x00\xFF\xFF\xCA\xC9\xC9\x07\x00"s,  // 7.2.3.5, two blocks
      "\xF3\x48\xCD\xC9\xC9\x07\x00"s,                          // the final block alone
  };
  for (const std::string& hello : hellos) {
    for (const bool no_takeover : {false, true}) {
      Inflater inflater{15, no_takeover};
      EXPECT_EQ(inflated(inflater, hello), "Hello");
      EXPECT_EQ(inflated(inflater, "\x00"s), "") << "7.2.3.6, the empty message";
      EXPECT_EQ(inflated(inflater, hellos[0]), "Hello");
      // 7.2.3.2: refers back to the message before, also across a final block.
      EXPECT_EQ(inflated(inflater, "\xF2\x00\x11\x00\x00"s), no_takeover ? "invalid" : "Hello");
    }
  }
}

TEST(Inflater, ABackReferenceCrossesAFinalBlock) {
  using namespace std::string_literals;
  Inflater inflater{15, false};
  EXPECT_EQ(inflated(inflater, "\xF3\x48\xCD\xC9\xC9\x07\x00\x00"s), "Hello");
  EXPECT_EQ(inflated(inflater, "\xF2\x00\x11\x00\x00"s), "Hello");
}

TEST(Inflater, WhatIsNoWholeMessageIsInvalid) {
  using namespace std::string_literals;
  const std::vector<std::string> broken = {
      "\xFF\xFF\xFF\xFF"s,              // block type 3
      "\xF2\x48\xCD\xC9"s,              // cut within a block
      "\x00\x05\x00\xFA\xFE\x48"s,      // length and its complement disagree
      "\x00\x05\x00\xFA\xFF\x48\x65"s,  // a stored block that is cut
      "\xF2\x00\x11\x00\x00"s,          // reaches back before the beginning
  };
  for (const std::string& bytes : broken) {
    Inflater inflater{15, true};
    EXPECT_EQ(inflated(inflater, bytes), "invalid") << testing::PrintToString(bytes);
    EXPECT_EQ(inflated(inflater, "\xF2\x48\xCD\xC9\xC9\x07\x00"s), "Hello")
        << "a shared inflater survives a bad message";
  }
}

TEST(Inflater, EndlessFinalBlocksAreRefused) {
  std::string bytes;
  for (int i = 0; i < 100000; ++i) bytes += std::string("\x03\x00", 2);
  Inflater inflater{15, false};
  EXPECT_LE(least_cpu_ms([&] { EXPECT_EQ(inflated(inflater, bytes), "invalid"); }), 2 * kSlowness);
}

std::string random_message(tests::Prng& prng, std::size_t size) {
  std::string message;
  while (message.size() < size) {
    if (prng.chance(1, 2)) {
      message += "{\"channel\":\"prices\",\"value\":" + std::to_string(prng.below(1000)) + "}";
    } else {
      message.push_back(static_cast<char>(prng.next()));
    }
  }
  message.resize(size);
  return message;
}

TEST(Deflate, MessagesSurviveEveryWindowAndMode) {
  const tests::Seed seed = tests::test_seed();
  tests::Prng prng = seed.prng();
  for (std::uint8_t bits = 9; bits <= 15; ++bits) {
    for (const bool no_takeover : {false, true}) {
      for (const int level : {1, 6}) {
        Deflater deflater{bits, no_takeover, level, static_cast<int>(1 + prng.below(9))};
        Inflater inflater{bits, no_takeover};
        for (const std::size_t size :
             {0U, 1U, 0U, 0U, 2U, 125U, 300U, 4096U, 70000U, 0U, 200000U}) {
          const std::string message = random_message(prng, size);
          ASSERT_EQ(inflated(inflater, deflated(deflater, message)), message)
              << int{bits} << ' ' << no_takeover << ' ' << size;
        }
      }
    }
  }
}

TEST(Deflate, TakeoverRemembersTheLastMessageAndItsAbsenceForgetsIt) {
  const std::string message = "a message that comes again and again, word for word";
  Deflater with{15, false};
  Deflater without{15, true};
  const std::size_t first = deflated(with, message).size();
  EXPECT_LT(deflated(with, message).size(), first / 2);
  const std::string once = deflated(without, message);
  EXPECT_EQ(deflated(without, message), once);
  EXPECT_EQ(once.size(), first);
}

TEST(Inflater, TheBoundHoldsAtTheLimitAndOnePastIt) {
  for (const std::size_t size : {1U, 255U, 256U, 257U, 65535U, 65536U, 65537U, 100000U, 1048576U}) {
    Deflater deflater{15, true};
    const std::string message(size, 'l');
    const std::string compressed = deflated(deflater, message);
    Inflater inflater{15, true};
    EXPECT_EQ(inflated(inflater, compressed, size), message) << size;
    EXPECT_EQ(inflated(inflater, compressed, size - 1), "too big") << size;
    EXPECT_LE(inflater.output().size(), size - 1) << "nothing past the limit is stored";
  }
}

TEST(Inflater, ABombStopsAtTheLimit) {
  // 100 MiB of zeros in about 100 KiB, made piece by piece.
  z_stream z{};
  ASSERT_EQ(deflateInit2(&z, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY), Z_OK);
  std::vector<Bytef> zeros(std::size_t{1} << 20);
  std::vector<std::byte> bomb(std::size_t{1} << 20);
  z.next_out = reinterpret_cast<Bytef*>(bomb.data());
  z.avail_out = static_cast<uInt>(bomb.size());
  for (int i = 0; i < 100; ++i) {
    z.next_in = zeros.data();
    z.avail_in = static_cast<uInt>(zeros.size());
    ASSERT_EQ(::deflate(&z, i == 99 ? Z_SYNC_FLUSH : Z_NO_FLUSH), Z_OK);
  }
  bomb.resize(bomb.size() - z.avail_out - 4);
  deflateEnd(&z);
  ASSERT_LE(bomb.size(), 128U << 10);
  for (const std::size_t limit :
       {std::size_t{1} << 16, std::size_t{600} << 10, std::size_t{1} << 20}) {
    Inflater inflater{15, false};
    const double ms =
        least_cpu_ms([&] { EXPECT_EQ(inflater.inflate(bomb, limit), InflateStatus::too_big); });
    EXPECT_LE(ms, 5 * kSlowness);
    EXPECT_LE(inflater.output().capacity(), limit + (64U << 10));
  }
}

}  // namespace
}  // namespace corelane
