// Goal: frames that were damaged on their way are refused or read safely, never a crash. Method:
// the checks of tests/fuzz/protocol_fuzz.cpp over every frame of sample.hpp, first as it is, then
// with bytes flipped, numbers replaced by extreme ones, parts cut off, doubled and inserted.
#include <gtest/gtest.h>

#include "protocol/bytes.hpp"
#include "tests/support/seed.hpp"
#include "tests/unit/protocol/sample.hpp"

namespace corelane {

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using tests::Prng;

void damage(std::vector<std::byte>& bytes, Prng& random) {
  constexpr std::uint32_t kExtremes[] = {0,          1,          2,          4,          0x7f,
                                         0x7fffffff, 0x80000000, 0xffffffff, 0xfffffffc, 0xffff};
  const std::size_t at = random.below(bytes.size());
  const auto position = bytes.begin() + static_cast<std::ptrdiff_t>(at);
  switch (random.below(6)) {
    case 0:
      *position ^= std::byte{1} << random.below(8);
      return;
    case 1:
      *position = static_cast<std::byte>(random());
      return;
    case 2:  // an aligned number, where offsets and counts are
      if (at / 4 * 4 + 4 <= bytes.size()) {
        protocol::store(&bytes[at / 4 * 4], kExtremes[random.below(std::size(kExtremes))]);
      }
      return;
    case 3:  // an entry of a vtable, or what may look like one
      if (at / 2 * 2 + 2 <= bytes.size()) {
        protocol::store(&bytes[at / 2 * 2], static_cast<std::uint16_t>(random.below(200)));
      }
      return;
    case 4:
      if (at > 0) bytes.resize(at);
      return;
    case 5:
      bytes.insert(position, 1 + random.below(8), static_cast<std::byte>(random()));
      return;
  }
}

void run(const std::vector<std::byte>& bytes) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
}

TEST(Corruption, NeverCrashesAndNeverDisagreesWithFlatBuffers) {
  const tests::Seed seed = tests::test_seed();
  Prng random = seed.prng();
  std::size_t inputs = 0;
  sample::for_each_body([&](const protocol::MessageHeader& header, const auto& body) {
    std::vector<std::byte> whole{static_cast<std::byte>(random())};
    const auto frame = sample::frame(header, body);
    whole.insert(whole.end(), frame.begin(), frame.end());
    run(whole);
    // Large frames cost more and have no more places to break.
    const int rounds = frame.size() < 1000 ? 300 : 20;
    for (int round = 0; round < rounds; ++round) {
      std::vector<std::byte> bytes = whole;
      if (random.below(4) == 0) bytes.insert(bytes.end(), frame.begin(), frame.end());
      const std::size_t wounds = 1 + random.below(4);
      for (std::size_t i = 0; i < wounds; ++i) damage(bytes, random);
      // Without its size mended, a cut or grown frame would only ever test the framing.
      if (random.below(2) == 0 && bytes.size() >= 5) {
        protocol::store(&bytes[1], static_cast<std::uint32_t>(bytes.size() - 5));
      }
      run(bytes);
      ++inputs;
    }
  });
  EXPECT_GT(inputs, 10'000u);
}

}  // namespace
}  // namespace corelane
