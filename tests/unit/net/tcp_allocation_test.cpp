// Goal: a warm core echoes by coroutines without an allocation, in leases, in copies and in lines.
// Method: the global allocation functions count; a warm-up may allocate, later rounds not.
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <utility>

#include "net/tcp.hpp"
#include "runtime/frame_pool.hpp"
#include "runtime/task_group.hpp"
#include "tests/support/counted_allocations.hpp"
#include "tests/support/on_cores.hpp"
#include "tests/support/tcp_pair.hpp"

namespace corelane {
namespace {

using tests::allocations;
using namespace runtime;
using net::TcpStream;
using tests::connect_pair;
using tests::run_on_cores;
using tests::TcpPair;

Task<void> echo_leases(TcpStream* stream) {
  const auto count = co_await net::splice(*stream, *stream);
  EXPECT_TRUE(count || count.error().code == ErrorCode::system);  // the client aborts at the end
}

Task<void> echo_copies(TcpStream* stream) {
  std::array<std::byte, 1024> buffer;
  for (;;) {
    const auto count = co_await stream->read_some(buffer);
    if (!count) co_return;
    const auto sent = co_await stream->write_all(std::span{buffer}.first(*count));
    if (!sent) co_return;
  }
}

Task<void> echo_lines(TcpStream* stream) {
  constexpr std::string_view kNewline = "\n";
  for (;;) {
    const auto line = co_await stream->read_line(100'000);
    if (!line) co_return;
    const std::array<std::span<const std::byte>, 2> parts{std::as_bytes(std::span{*line}),
                                                          std::as_bytes(std::span{kNewline})};
    const auto sent = co_await stream->write_all(parts);
    if (!sent) co_return;
  }
}

std::size_t allocations_of(Task<void> (*echo)(TcpStream*), std::size_t bytes) {
  std::size_t counted = 0;
  run_on_cores(1, [&]() -> Task<void> {
    TcpPair pair;
    co_await connect_pair(pair);
    TaskGroup group("echo");
    group.spawn("echo", echo, &pair.server);
    std::string message(bytes, 'a');
    message.back() = '\n';
    std::string back(bytes, ' ');
    for (int round = 0; round < 600; ++round) {
      if (round == 200) counted = allocations;
      const auto sent = co_await pair.client.write_all(message);
      const auto read = co_await pair.client.read_exactly(std::as_writable_bytes(std::span{back}));
      if (!sent || !read || back != message) ADD_FAILURE();
    }
    counted = allocations - counted;
    pair.client.abort();
    co_await group.join();
  });
  return counted;
}

TEST(TcpAllocation, AnEchoCostsNoneInLeasesCopiesAndLines) {
  if (!FramePool::kEnabled) GTEST_SKIP() << "frames come from the allocator under ASan";
  for (const std::size_t bytes : {1u, 100u, 3'000u, 50'000u}) {
    EXPECT_EQ(allocations_of(echo_leases, bytes), 0u) << bytes;
    EXPECT_EQ(allocations_of(echo_copies, bytes), 0u) << bytes;
    EXPECT_EQ(allocations_of(echo_lines, bytes), 0u) << bytes;
  }
}

}  // namespace
}  // namespace corelane
