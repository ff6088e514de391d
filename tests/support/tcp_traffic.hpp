#pragma once
// Traffic over TcpStreams for random tests: a writer and a reader that use every way to write and
// to read in turns, the reader comparing each byte with byte_at() and giving up waits now and then.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "net/tcp.hpp"
#include "runtime/combine.hpp"
#include "tests/support/prng.hpp"
#include "tests/support/tcp_pair.hpp"

namespace corelane::tests {

// The bytes of one direction.
struct Traffic {
  std::uint64_t number = 0;
  std::uint64_t total = 0;
  std::uint64_t seed = 0;
  std::uint64_t read = 0;
  bool is_wrong = false;
  std::optional<runtime::Error> why_read{};     // end_of_file: all of it
  std::optional<runtime::Error> why_written{};  // nothing: all of it

  void look_at(std::span<const std::byte> bytes) {
    for (const std::byte byte : bytes) is_wrong = is_wrong || byte != byte_at(number, read++);
  }
};

inline runtime::Task<runtime::Result<void>> write_part(net::TcpStream& stream, Prng& random,
                                                       std::span<const std::byte> bytes) {
  switch (random.below(5)) {
    case 0: {
      const std::size_t half = bytes.size() / 2;
      const std::array<std::span<const std::byte>, 2> parts{bytes.first(half), bytes.subspan(half)};
      co_return co_await stream.write_all(parts);
    }
    case 1: {
      const runtime::SharedBytes block = runtime::SharedBytes::copy(bytes);
      co_return co_await stream.write_all(block, {block.data(), bytes.size()});
    }
    case 2:
      co_return co_await stream.write_all(net::ReceivedBytes::copy_of(bytes));
    case 3: {
      const std::size_t done = stream.try_write(bytes);
      co_return co_await stream.write_all(bytes.subspan(done));
    }
    default:
      while (!bytes.empty()) {
        const auto some = co_await stream.write_some(bytes);
        if (!some) co_return runtime::Unexpected{some.error()};
        bytes = bytes.subspan(*some);
      }
      co_return runtime::Result<void>{};
  }
}

// Writes all of it, and half-closes.
inline runtime::Task<void> write_traffic(net::TcpStream* stream, Traffic* traffic) {
  Prng random(traffic->seed);
  for (std::uint64_t sent = 0; sent < traffic->total;) {
    const auto count = std::min<std::uint64_t>(traffic->total - sent,
                                               1 + random.below(random.chance(1, 4) ? 6'000 : 90));
    const std::vector<std::byte> bytes =
        numbered(traffic->number, sent, static_cast<std::size_t>(count));
    const auto written = co_await write_part(*stream, random, bytes);
    if (!written) {
      traffic->why_written = written.error();
      co_return;
    }
    sent += count;
    if (random.chance(1, 8))
      co_await runtime::sleep_for(static_cast<runtime::Nanoseconds>(random.below(100'000)));
  }
  stream->shutdown_send();
}

// One read of any kind. An error of the stream, or none: end_of_file counts for read_some alone,
// since the other kinds say it while there are bytes.
inline runtime::Task<std::optional<runtime::Error>> read_part(net::TcpStream& stream, Prng& random,
                                                              Traffic& traffic) {
  const auto patience = static_cast<runtime::Nanoseconds>(1 + random.below(200'000));
  std::optional<runtime::Error> why;
  switch (random.below(6)) {
    case 3: {
      const auto more = co_await runtime::with_timeout(patience, stream.wait_for_more());
      if (!more) why = more.error();
      const std::span<const std::byte> bytes = stream.unread();
      const std::size_t used = random.below(bytes.size() + 1);
      traffic.look_at(bytes.first(used));
      stream.consume(used);
      break;
    }
    case 0: {
      const auto bytes = co_await runtime::with_timeout(patience, stream.read_some());
      if (bytes) traffic.look_at(bytes->bytes());
      if (!bytes) why = bytes.error();
      break;
    }
    case 1: {
      std::vector<std::byte> into(1 + random.below(700));
      const auto full = co_await runtime::with_timeout(patience, stream.read_exactly(into));
      if (full) traffic.look_at(into);
      if (!full) why = full.error();
      break;
    }
    case 2: {
      const std::size_t most = 1 + random.below(600);
      const auto line = co_await runtime::with_timeout(patience, stream.read_until("\x07", most));
      if (line) traffic.look_at(std::as_bytes(std::span{*line}));
      if (!line) why = line.error();
      break;
    }
    default: {
      std::vector<std::byte> into(1 + random.below(700));
      const auto count = co_await stream.read_some(into);
      if (count) traffic.look_at(std::span{into}.first(*count));
      if (!count) co_return count.error();
    }
  }
  const bool is_of_the_stream = why && why->code != runtime::ErrorCode::timed_out &&
                                why->code != runtime::ErrorCode::limit_exceeded &&
                                why->code != runtime::ErrorCode::end_of_file;
  co_return is_of_the_stream ? why : std::nullopt;
}

// Reads until the end of the stream.
inline runtime::Task<void> read_traffic(net::TcpStream* stream, Traffic* traffic) {
  Prng random(traffic->seed + 1);
  while (!traffic->why_read) {
    traffic->why_read = co_await read_part(*stream, random, *traffic);
    if (random.chance(1, 10))
      co_await runtime::sleep_for(static_cast<runtime::Nanoseconds>(random.below(300'000)));
  }
}

}  // namespace corelane::tests
