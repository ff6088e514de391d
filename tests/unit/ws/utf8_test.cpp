// Goal: every kernel that this host has accepts exactly the UTF-8 of RFC 3629, in whatever pieces
// it arrives, and refuses the piece that holds the first impossible byte. Method: a decoder by
// arithmetic as the model; all strings of up to three bytes and the corners of four; each placed at
// every offset of a block between ASCII and longer code points; random mutations of valid text.
#include "ws/utf8.hpp"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/seed.hpp"
#include "tests/unit/ws/wire.hpp"

namespace corelane {
namespace {

using tests::wire::as_bytes;
using ws::CpuPath;
using ws::Utf8Kernel;
using ws::Utf8State;

enum class Verdict { valid, unfinished, invalid };

// Decodes by arithmetic: the value must need exactly as many bytes as it has.
Verdict judge(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const auto byte = [&](std::size_t i) {
      return static_cast<unsigned>(static_cast<unsigned char>(text[i]));
    };
    const unsigned lead = byte(at);
    const std::size_t size = lead < 0x80             ? 1
                             : (lead & 0xE0) == 0xC0 ? 2
                             : (lead & 0xF0) == 0xE0 ? 3
                             : (lead & 0xF8) == 0xF0 ? 4
                                                     : 0;
    if (size == 0) return Verdict::invalid;
    // The code points that the bytes so far can still become.
    unsigned low = size == 1 ? lead : lead & (0x7FU >> size);
    std::size_t have = 1;
    for (; have < size && at + have < text.size(); ++have) {
      if ((byte(at + have) & 0xC0) != 0x80) return Verdict::invalid;
      low = low << 6 | (byte(at + have) & 0x3F);
    }
    const auto open_bits = 6 * static_cast<unsigned>(size - have);
    const unsigned first = low << open_bits;
    const unsigned last = first | ((1U << open_bits) - 1);
    constexpr std::array<unsigned, 5> kSmallest = {0, 0, 0x80, 0x800, 0x10000};
    if (last < kSmallest[size] || first > 0x10FFFF) return Verdict::invalid;
    if (first >= 0xD800 && last <= 0xDFFF) return Verdict::invalid;
    if (have < size) return Verdict::unfinished;
    at += size;
  }
  return Verdict::valid;
}

Verdict verdict_of(Utf8State state) {
  if (state == Utf8State::accept) return Verdict::valid;
  return state == Utf8State::reject ? Verdict::invalid : Verdict::unfinished;
}

std::vector<Utf8Kernel> kernels() {
  std::vector<Utf8Kernel> found;
  for (const CpuPath path : ws::kCpuPaths) {
    if (const Utf8Kernel kernel = ws::utf8_kernel(path)) found.push_back(kernel);
  }
  return found;
}

Verdict run(Utf8Kernel kernel, std::string_view text, Utf8State from = Utf8State::accept) {
  // A block of exactly its size, so that a sanitizer sees a read past the end.
  const std::vector<char> exact(text.begin(), text.end());
  return verdict_of(kernel(from, as_bytes({exact.data(), exact.size()}).data(), exact.size()));
}

std::string string_of(std::initializer_list<unsigned> bytes) {
  std::string text;
  for (const unsigned byte : bytes) text.push_back(static_cast<char>(byte));
  return text;
}

// Bytes at which any rule of RFC 3629 changes its mind.
const std::vector<unsigned>& corner_bytes() {
  static const std::vector<unsigned> corners = {0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0,
                                                0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC,
                                                0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5,
                                                0xF7, 0xF8, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF};
  return corners;
}

TEST(Utf8, AgreesWithTheModelOnAllStringsOfUpToThreeBytes) {
  for (unsigned a = 0; a < 256; ++a) {
    for (unsigned b = 0; b < 256; ++b) {
      const std::string two = string_of({a, b});
      ws::Utf8Validator validator;
      const Verdict expected = judge(two);
      ASSERT_EQ(validator.consume(as_bytes(two)), expected != Verdict::invalid) << a << ' ' << b;
      ASSERT_EQ(verdict_of(validator.state()), expected) << a << ' ' << b;
      if (a < 0xE0 || (b & 0xC0) != 0x80) continue;
      for (unsigned c = 0; c < 256; ++c) {
        const std::string three = string_of({a, b, c});
        validator.reset();
        static_cast<void>(validator.consume(as_bytes(three)));
        ASSERT_EQ(verdict_of(validator.state()), judge(three)) << a << ' ' << b << ' ' << c;
      }
    }
  }
}

TEST(Utf8, AgreesWithTheModelOnTheCornersOfFourBytes) {
  for (const unsigned a : corner_bytes()) {
    for (const unsigned b : corner_bytes()) {
      for (const unsigned c : corner_bytes()) {
        for (const unsigned d : corner_bytes()) {
          const std::string text = string_of({a, b, c, d});
          const Verdict expected = judge(text);
          std::string padded = std::string(40, 'x') + text;
          for (const Utf8Kernel kernel : kernels()) {
            ASSERT_EQ(run(kernel, text), expected) << a << ' ' << b << ' ' << c << ' ' << d;
            ASSERT_EQ(run(kernel, padded), judge(padded)) << a << ' ' << b << ' ' << c << ' ' << d;
          }
        }
      }
    }
  }
}

TEST(Utf8, EverySequenceIsJudgedAlikeAtEveryPlaceOfABlock) {
  const std::vector<std::string> sequences = {"\x7F",
                                              "\xC2\x80",
                                              "\xDF\xBF",
                                              "\xE0\xA0\x80",
                                              "\xED\x9F\xBF",
                                              "\xEE\x80\x80",
                                              "\xEF\xBF\xBF",
                                              "\xF0\x90\x80\x80",
                                              "\xF4\x8F\xBF\xBF",
                                              "\x80",
                                              "\xC0\x80",
                                              "\xC1\xBF",
                                              "\xE0\x9F\xBF",
                                              "\xED\xA0\x80",
                                              "\xF0\x8F\xBF\xBF",
                                              "\xF4\x90\x80\x80",
                                              "\xF5\x80\x80\x80",
                                              "\xF8\x88\x80\x80\x80",
                                              "\xFF",
                                              "\xC2",
                                              "\xE1\x80",
                                              "\xF1\x80\x80",
                                              "\xF1\x80",
                                              "\xC2\x80\x80",
                                              "\xE1\x80\x80\x80",
                                              "\xF1\x80\x80\x80\x80"};
  const std::vector<std::string> fillers = {"a", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"};
  for (const std::string& filler : fillers) {
    for (const std::string& sequence : sequences) {
      for (std::size_t before = 0; before < 140; ++before) {
        std::string text(before % filler.size(), 'b');
        while (text.size() < before) text += filler;
        text += sequence;
        for (const std::size_t after : {0U, 1U, 40U, 100U}) {
          std::string whole = text + std::string(after, 'c');
          const Verdict expected = judge(whole);
          for (const Utf8Kernel kernel : kernels()) {
            ASSERT_EQ(run(kernel, whole), expected) << before << " before, " << after << " after";
          }
        }
      }
    }
  }
}

std::string random_text(tests::Prng& prng, std::size_t size) {
  static const std::array<std::string, 6> kPieces = {
      "z", "plain ascii text ", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\xED\x9F\xBF"};
  std::string text;
  while (text.size() < size) text += kPieces[prng.below(kPieces.size())];
  return text;
}

TEST(Utf8, RandomMutationsInRandomPiecesGetTheModelsVerdict) {
  const tests::Seed seed = tests::test_seed();
  tests::Prng prng = seed.prng();
  for (int round = 0; round < 4000; ++round) {
    std::string text = random_text(prng, prng.below(400));
    const std::uint64_t mutations = prng.below(3);
    for (std::uint64_t i = 0; i < mutations && !text.empty(); ++i) {
      text[prng.below(text.size())] = static_cast<char>(prng.next());
    }
    for (const Utf8Kernel kernel : kernels()) {
      ASSERT_EQ(run(kernel, text), judge(text)) << round;
      Utf8State state = Utf8State::accept;
      for (std::size_t at = 0; at < text.size();) {
        const std::size_t size = std::min<std::size_t>(1 + prng.below(90), text.size() - at);
        state = kernel(state, as_bytes(text).data() + at, size);
        at += size;
        ASSERT_EQ(verdict_of(state), judge(std::string_view{text}.substr(0, at))) << round;
      }
    }
  }
}

TEST(Utf8, RefusesExactlyTheFirstImpossibleByte) {
  // "κόσμε", then a surrogate: ED may begin a code point, A0 after it may not.
  const std::string text = "\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xED\xA0\x80";
  ws::Utf8Validator validator;
  for (std::size_t at = 0; at < text.size(); ++at) {
    EXPECT_EQ(validator.consume(as_bytes(std::string_view{text}.substr(at, 1))), at < 12) << at;
  }
  EXPECT_FALSE(validator.consume(as_bytes("a"))) << "a refusal is final";
  EXPECT_FALSE(validator.complete());
}

}  // namespace
}  // namespace corelane
