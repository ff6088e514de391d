// Goal: a reader spends memory on what arrived, never on what was announced, and nothing at all in
// steady state. Method: this program counts every allocation it makes.
#include <gtest/gtest.h>
#include <openssl/crypto.h>

#include <cstdlib>
#include <deque>
#include <new>
#include <string>
#include <vector>

#include "tests/unit/ws/wire.hpp"
#include "ws/handshake.hpp"
#include "ws/message_reader.hpp"

namespace {

std::size_t allocations = 0;
std::size_t allocated_bytes = 0;

void* counted_allocation(std::size_t size) {
  ++allocations;
  allocated_bytes += size;
  void* const at = std::malloc(size);
  if (at == nullptr) std::abort();
  return at;
}

// OpenSSL's own, which do not come through operator new.
std::size_t openssl_allocations = 0;
const int kCountsOpenssl = CRYPTO_set_mem_functions(
    [](std::size_t size, const char*, int) {
      ++openssl_allocations;
      return std::malloc(size);
    },
    [](void* at, std::size_t size, const char*, int) {
      ++openssl_allocations;
      return std::realloc(at, size);
    },
    [](void* at, const char*, int) { std::free(at); });

}  // namespace

void* operator new(std::size_t size) {
  return counted_allocation(size);
}
void operator delete(void* at) noexcept {
  std::free(at);
}
void operator delete(void* at, std::size_t) noexcept {
  std::free(at);
}

namespace corelane {
namespace {

using tests::wire::frame;
using ws::MessageReader;
using ws::ReaderLimits;
using ws::Role;

struct QuietSink {
  std::size_t messages = 0;
  std::size_t bytes = 0;
  bool keeps = false;
  ws::OwnedBytes kept;

  bool on_message(ws::Message message) {
    ++messages;
    bytes += message.payload().size();
    if (keeps) kept = message.take_or_copy();
    return true;
  }
  bool on_ping(std::span<const std::byte>) { return true; }
  bool on_pong(std::span<const std::byte>) { return true; }
  bool on_close(ws::CloseCode, std::string_view) { return true; }
};

// Runs `round` once to fill the pools, then counts what the next hundred rounds allocate.
template <class Round>
std::size_t steady_allocations(Round round) {
  for (int i = 0; i < 3; ++i) round();
  const std::size_t before = allocations;
  for (int i = 0; i < 100; ++i) round();
  return allocations - before;
}

// Not even the first: finding the digest through EVP takes OpenSSL thousands, and milliseconds.
TEST(HandshakeMemory, AKeyIsHashedWithoutAllocation) {
  ASSERT_EQ(kCountsOpenssl, 1);
  const std::size_t before = allocations + openssl_allocations;
  const std::array<char, 28> first = ws::accept_key_of("dGhlIHNhbXBsZSBub25jZQ==");
  EXPECT_EQ(allocations + openssl_allocations - before, 0u);
  EXPECT_EQ(std::string_view(first.data(), first.size()), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

TEST(ReaderMemory, WholeMessagesCostNoAllocation) {
  std::string wire;
  for (int i = 0; i < 16; ++i) wire += frame({.opcode = 2, .payload = std::string(125, 'w')});
  const auto source = tests::wire::as_bytes(wire);
  std::vector<std::byte> bytes(wire.size());
  MessageReader reader{Role::server};
  QuietSink sink;
  EXPECT_EQ(steady_allocations([&] {
              std::copy(source.begin(), source.end(), bytes.begin());
              static_cast<void>(reader.consume(bytes, ReaderLimits{}, sink));
            }),
            0U);
  EXPECT_EQ(sink.messages, 103U * 16);
  EXPECT_EQ(sink.bytes, 103U * 16 * 125);
}

TEST(ReaderMemory, JoinedAndKeptMessagesCostNoAllocationInSteadyState) {
  const std::string wire = frame({.opcode = 2, .payload = std::string(20000, 'j')}) +
                           frame({.payload = "in ", .is_final = false}) + frame({.opcode = 9}) +
                           frame({.opcode = 0, .payload = "pieces"});
  const auto source = tests::wire::as_bytes(wire);
  std::vector<std::byte> bytes(wire.size());
  MessageReader reader{Role::server};
  QuietSink sink;
  sink.keeps = true;
  EXPECT_EQ(steady_allocations([&] {
              std::copy(source.begin(), source.end(), bytes.begin());
              for (std::size_t at = 0; at < bytes.size(); at += 4096) {
                const auto piece =
                    std::span{bytes}.subspan(at, std::min<std::size_t>(4096, bytes.size() - at));
                static_cast<void>(reader.consume(piece, ReaderLimits{}, sink));
              }
            }),
            0U);
  EXPECT_EQ(sink.messages, 103U * 2);
}

TEST(ReaderMemory, AnnouncedBytesCostNothing) {
  // Within the limit, so that nothing is refused; 100 bytes of each terabyte arrive.
  const ReaderLimits limits{.message_bytes_max = std::size_t{1} << 41};
  const std::string wire =
      tests::wire::header({.opcode = 2}, 1ULL << 40, true) + "keyk" + std::string(100, 'b');
  std::deque<MessageReader> readers;
  for (int i = 0; i < 1000; ++i) readers.emplace_back(Role::server);
  const auto source = tests::wire::as_bytes(wire);
  std::vector<std::byte> bytes(wire.size());
  QuietSink sink;
  const std::size_t before = allocated_bytes;
  for (MessageReader& reader : readers) {
    std::copy(source.begin(), source.end(), bytes.begin());
    EXPECT_EQ(reader.consume(bytes, limits, sink).status, ws::ReadStatus::drained);
    EXPECT_EQ(reader.bytes_missing(), (1ULL << 40) - 100);
  }
  EXPECT_LE(allocated_bytes - before, 1000U * 1024);
}

TEST(ReaderMemory, AJoinHoldsAtMostTwiceWhatArrived) {
  const ReaderLimits limits{.message_bytes_max = std::size_t{1} << 30};
  MessageReader reader{Role::server};
  QuietSink sink;
  std::vector<std::byte> header(14);
  const std::string wire = tests::wire::header({.opcode = 2}, 1ULL << 30, true) + "keyk";
  std::copy_n(tests::wire::as_bytes(wire).begin(), 14, header.begin());
  static_cast<void>(reader.consume(header, limits, sink));
  std::vector<std::byte> piece(10000);
  std::size_t arrived = 0;
  const std::size_t before = allocated_bytes;
  while (arrived < 3'000'000) {
    static_cast<void>(reader.consume(piece, limits, sink));
    arrived += piece.size();
    // All blocks of a doubling series together are below twice the last of them.
    ASSERT_LE(allocated_bytes - before, 4 * arrived + (64U << 10)) << arrived;
  }
}

}  // namespace
}  // namespace corelane
