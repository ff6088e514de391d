// Goal: a MessageReader tells its sink the same events however the stream is cut, and those that
// the frames mean. Method: random frame sequences with random flaws, in random cuts, against a
// model that knows whole frames only.
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "tests/support/seed.hpp"
#include "tests/unit/ws/wire.hpp"
#include "ws/message_reader.hpp"
#include "ws/utf8.hpp"

namespace corelane {
namespace {

using tests::wire::Cuts;
using tests::wire::events_of;
using tests::wire::frame;
using tests::wire::FrameSpec;
using ws::ReaderLimits;
using ws::Role;

// The model: knows frames, not bytes. Writes the events that a stream of frames means.
class Model {
 public:
  Model(Role role, const ReaderLimits& limits) : role_(role), limits_(limits) {}
  const std::vector<std::string>& events() const { return events_; }

  // False once nothing more is listened to.
  bool take(const FrameSpec& spec) {
    if (const unsigned fault = fault_of(spec)) {
      events_.push_back("fail:" + std::to_string(fault));
      return false;
    }
    if (spec.opcode < 8) return take_data(spec);
    if (spec.opcode == 9) events_.push_back("ping:" + spec.payload);
    if (spec.opcode == 10) events_.push_back("pong:" + spec.payload);
    if (spec.opcode != 8) return true;
    const std::string& payload = spec.payload;
    const unsigned code = payload.empty() ? 1005U
                                          : static_cast<unsigned char>(payload[0]) * 256U +
                                                static_cast<unsigned char>(payload[1]);
    events_.push_back("close:" + std::to_string(code) + ":" +
                      (payload.empty() ? "" : payload.substr(2)));
    return false;
  }

 private:
  unsigned fault_of(const FrameSpec& spec) const {
    const bool is_known = spec.opcode <= 2 || (spec.opcode >= 8 && spec.opcode <= 10);
    if (!is_known || spec.rsv != 0) return 1002;
    if (spec.masked >= 0 && (spec.masked != 0) != (role_ == Role::server)) return 1002;
    if (spec.opcode >= 8) {
      if (!spec.is_final || spec.payload.size() > 125) return 1002;
      if (spec.opcode == 8 && spec.payload.size() == 1) return 1002;
      return 0;
    }
    if ((spec.opcode == 0) != in_message_) return 1002;
    const std::size_t fragments = in_message_ ? fragments_ + 1 : 1;
    const std::size_t size = spec.payload.size() + (in_message_ ? message_.size() : 0);
    return size > limits_.message_bytes_max || fragments > limits_.fragments_max ? 1009 : 0;
  }

  bool take_data(const FrameSpec& spec) {
    if (spec.opcode != 0) {
      message_.clear();
      is_text_ = spec.opcode == 1;
      fragments_ = 0;
    }
    ++fragments_;
    message_ += spec.payload;
    in_message_ = !spec.is_final;
    ws::Utf8Validator validator;
    const bool is_possible = validator.consume(tests::wire::as_bytes(message_));
    if (is_text_ && (!is_possible || (spec.is_final && !validator.complete()))) {
      events_.push_back("fail:1007");
      return false;
    }
    if (spec.is_final) events_.push_back((is_text_ ? "text:" : "binary:") + message_);
    return true;
  }

  Role role_;
  ReaderLimits limits_;
  std::vector<std::string> events_;
  std::string message_;
  std::size_t fragments_ = 0;
  bool in_message_ = false;
  bool is_text_ = false;
};

std::string random_payload(tests::Prng& prng, std::size_t size_max) {
  static const std::array<std::string, 5> kPieces = {"a", "plain ", "\xC3\xA9", "\xE2\x82\xAC",
                                                     "\xF0\x9F\x98\x80"};
  std::string payload;
  const std::size_t size = prng.below(size_max + 1);
  while (payload.size() < size) payload += kPieces[prng.below(kPieces.size())];
  // Cutting anywhere splits code points, as fragments may.
  payload.resize(size);
  return payload;
}

enum FrameKind : std::size_t { unfragmented, begin, go_on, finish, ping, pong, close, flawed };

FrameSpec random_frame(tests::Prng& prng, std::size_t kind) {
  const std::size_t size_max = prng.chance(1, 20) ? 70000 : prng.chance(1, 3) ? 600 : 20;
  const unsigned data_opcode = prng.chance(1, 2) ? 1 : 2;
  switch (kind) {
    case unfragmented:
      return {.opcode = data_opcode, .payload = random_payload(prng, size_max)};
    case begin:
      return {.opcode = data_opcode, .payload = random_payload(prng, size_max), .is_final = false};
    case go_on:
      return {.opcode = 0, .payload = random_payload(prng, size_max), .is_final = false};
    case finish:
      return {.opcode = 0, .payload = random_payload(prng, size_max)};
    case ping:
    case pong:
      return {.opcode = kind == ping ? 9U : 10U, .payload = random_payload(prng, 125)};
    case close:
      return {.opcode = 8, .payload = prng.chance(1, 3) ? "" : tests::wire::close_payload(1000)};
    default:
      return {.opcode = static_cast<unsigned>(prng.below(16)),
              .payload = random_payload(prng, 140),
              .is_final = prng.chance(3, 4),
              .rsv = prng.chance(1, 4) ? static_cast<unsigned>(prng.below(8)) : 0,
              .masked = prng.chance(1, 4) ? static_cast<int>(prng.below(2)) : -1};
  }
}

// Steers towards sequences that make sense, so that runs are long; the model judges all others.
std::size_t likely_kind(tests::Prng& prng, const tests::EventMix<8>& mix, bool in_message) {
  for (int tries = 0; tries < 20; ++tries) {
    const std::size_t kind = mix.draw(prng);
    if (kind == close || kind == flawed) {
      if (prng.chance(1, 10)) return kind;
      continue;
    }
    if (kind >= ping || (kind == go_on || kind == finish) == in_message) return kind;
  }
  return in_message ? finish : unfragmented;
}

TEST(MessageReaderModel, RandomFramesInRandomCutsGiveTheModelsEvents) {
  const tests::Seed seed = tests::test_seed();
  tests::Prng prng = seed.prng();
  for (int round = 0; round < 1500; ++round) {
    const Role role = prng.chance(1, 2) ? Role::server : Role::client;
    const ReaderLimits limits{.message_bytes_max = prng.chance(1, 2) ? 1000U : 200000U,
                              .fragments_max = prng.chance(1, 2) ? 5U : 100U};
    const tests::EventMix<8> mix{prng};
    Model model{role, limits};
    std::string wire;
    bool in_message = false;
    bool is_open = true;
    for (std::uint64_t left = 1 + prng.below(30); left > 0 && is_open; --left) {
      const std::size_t kind = likely_kind(prng, mix, in_message);
      FrameSpec spec = random_frame(prng, kind);
      // A close payload that is no code is the conformance tables' matter.
      if (spec.opcode == 8 && spec.payload.size() > 1) spec.payload = "\x03\xE8";
      if (spec.opcode < 8) in_message = !spec.is_final;
      wire += frame(spec, role);
      is_open = model.take(spec);
    }
    if (!is_open) wire += frame({.payload = "never seen"}, role);
    ASSERT_EQ(events_of(wire, limits, Cuts::whole(), role), model.events()) << round;
    ASSERT_EQ(events_of(wire, limits, Cuts::random(prng), role), model.events()) << round;
    if (wire.size() < 5000) {
      ASSERT_EQ(events_of(wire, limits, Cuts::every(1), role), model.events()) << round;
    }
  }
}

}  // namespace
}  // namespace corelane
