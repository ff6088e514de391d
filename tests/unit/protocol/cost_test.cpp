// Goal: building and verifying frames does not allocate in steady state, and what it costs is
// known. Method: operator new counts; times are printed for people and asserted nowhere, since they
// depend on the machine.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>

#include "tests/support/counted_allocations.hpp"
#include "tests/unit/protocol/deep_generated.hpp"
#include "tests/unit/protocol/sample.hpp"

namespace corelane {
namespace {

using tests::allocations;
using namespace protocol;
namespace test = ::protocol::test;

// Nanoseconds a call, the best of 9 runs: the others had company on the processor.
template <class Call>
double measure(const char* name, const Call& call) {
  using Clock = std::chrono::steady_clock;
  constexpr int kCalls = 2000;
  double best = 1e18;
  for (int run = 0; run < 9; ++run) {
    const auto start = Clock::now();
    for (int i = 0; i < kCalls; ++i) call();
    const std::chrono::duration<double, std::nano> spent = Clock::now() - start;
    best = std::min(best, spent.count() / kCalls);
  }
  std::printf("  %-44s %10.1f ns\n", name, best);
  return best;
}

template <class T>
void keep(const T& value) {
  asm volatile("" : : "g"(&value) : "memory");
}

TEST(Cost, SteadyStateDoesNotAllocate) {
  std::vector<std::byte> out(64 * 1024);
  const EventTemplate events("news", 1, true);
  const std::string data(64, 'd');
  const auto frame = sample::frame(sample::kFullHeader,
                                   PublishBody{.channel = "news", .data = sample::bytes(data)});
  std::vector<std::byte> displaced(frame.size() + 1);
  std::copy(frame.begin(), frame.end(), displaced.begin() + 1);
  AlignedScratch scratch;
  const auto turn = [&] {
    const MessageView view = sample::open(std::span(displaced).subspan(1));
    const auto publish = verify_payload<fbs::PublishRequest>(view.payload, scratch);
    ASSERT_TRUE(publish);
    std::size_t at = events.write(out, {.timestamp = 1, .offset = 2}, bytes_of(publish->data()));
    at += write_frame(std::span(out).subspan(at), {.transaction_id = view.transaction_id},
                      AckBody{.epoch = 1, .offset = 2, .delivered = 3});
    keep(at);
  };
  turn();
  const std::size_t before = allocations;
  for (int i = 0; i < 100; ++i) turn();
  EXPECT_EQ(allocations, before);
}

TEST(Cost, OfBuildingIsPrinted) {
  std::vector<std::byte> out(64 * 1024);
  const std::string data(64, 'd');
  const EventTemplate events("news", 1, true);
  std::uint64_t offset = 0;
  std::size_t bytes = 0;
  measure("event of 64 bytes, template", [&] {
    bytes = events.write(out, {.timestamp = 1, .offset = ++offset}, sample::bytes(data));
    keep(out);
  });
  measure("event of 64 bytes, general writer", [&] {
    keep(write_frame(std::span(out), {.timestamp = 1},
                     EventBody{.channel = "news",
                               .epoch = 1,
                               .offset = ++offset,
                               .data = sample::bytes(data),
                               .publisher = sample::uuid(1)}));
    keep(out);
  });
  measure("ack, general writer", [&] {
    keep(write_frame(std::span(out), sample::kFullHeader, AckBody{.epoch = 1, .offset = ++offset}));
    keep(out);
  });
  flatbuffers::FlatBufferBuilder inner;
  flatbuffers::FlatBufferBuilder outer;
  measure("event of 64 bytes, two FlatBufferBuilders", [&] {
    inner.Clear();
    outer.Clear();
    const auto channel = inner.CreateString("news");
    const auto vector = inner.CreateVector(reinterpret_cast<const std::uint8_t*>(data.data()), 64);
    const fbs::UUID publisher = to_fbs(sample::uuid(1));
    inner.Finish(fbs::CreateChannelEvent(inner, channel, 1, ++offset, vector, &publisher));
    const auto payload = outer.CreateVector(inner.GetBufferPointer(), inner.GetSize());
    outer.FinishSizePrefixed(fbs::CreateMessage(outer, Opcode::Event, nullptr, payload, 1));
    std::memcpy(out.data(), outer.GetBufferPointer(), outer.GetSize());
    keep(out);
  });
  EXPECT_EQ(bytes, sample::frame({.timestamp = 1}, EventBody{.channel = "news",
                                                             .epoch = 1,
                                                             .offset = 1,
                                                             .data = sample::bytes(data),
                                                             .publisher = sample::uuid(1)})
                       .size());
}

TEST(Cost, OfReadingHostileAndOrdinaryFramesIsPrinted) {
  const std::string data(64, 'd');
  const auto publish = sample::frame(sample::kFullHeader,
                                     PublishBody{.channel = "news", .data = sample::bytes(data)});
  AlignedScratch scratch;
  measure("publish of 64 bytes, frame to payload table", [&] {
    const Frame frame = next_frame(publish, kFrameBytesMaxDefault);
    const VerifiedMessage message = verify_message(frame.message);
    keep(verify_payload<fbs::PublishRequest>(message.view.payload, scratch));
  });
  // The worst that fits in 64 KiB: the largest list of channels that is taken (misaligned, so that
  // it is copied as well), 16,000 offsets to one string, and tables up to the last one of the
  // budget.
  const std::vector<std::string_view> names(kChannelsPerRequestMax,
                                            std::string_view(data).substr(0, 55));
  const auto list = sample::frame({}, SubscribeBody{.channels = names});
  ASSERT_LE(list.size(), 65536u);
  std::vector<std::byte> displaced(list.size() + 1);
  std::copy(list.begin(), list.end(), displaced.begin() + 1);
  measure("subscribe to 1,000 channels, misaligned", [&] {
    const VerifiedMessage message =
        verify_message(std::span(displaced).subspan(1 + kFrameSizeBytes));
    keep(verify_payload<fbs::SubscribeRequest>(message.view.payload, scratch));
  });
  flatbuffers::FlatBufferBuilder builder;
  const std::vector<flatbuffers::Offset<flatbuffers::String>> offsets(16000,
                                                                      builder.CreateString("x"));
  builder.Finish(fbs::CreateSubscribeRequest(builder, builder.CreateVector(offsets)));
  const std::size_t hostile_bytes = builder.GetSize();
  ASSERT_LE(hostile_bytes, 65536u);
  measure("subscribe with 16,000 offsets to one string", [&] {
    keep(verify_payload<fbs::SubscribeRequest>(
        std::as_bytes(std::span(builder.GetBufferPointer(), hostile_bytes)), scratch));
  });
  flatbuffers::FlatBufferBuilder fan;
  const std::vector<flatbuffers::Offset<test::Node>> leaves(16000, test::CreateNode(fan));
  fan.Finish(test::CreateNode(fan, {}, fan.CreateVector(leaves)));
  ASSERT_LE(fan.GetSize(), 65536u);
  const double worst = measure("64 KiB of tables, to the end of the budget", [&] {
    keep(verify_payload<test::Node>(std::as_bytes(std::span(fan.GetBufferPointer(), fan.GetSize())),
                                    scratch));
  });
  EXPECT_GT(worst, 0.0);
}

}  // namespace
}  // namespace corelane
