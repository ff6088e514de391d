// Goal: an input gives its bytes once and in order, whatever is asked of it. Method: random
// operations on an input and on a plain string, compared; delimiters that are cut by the borders of
// pieces, at each place.
#include "net/tcp_input.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/support/on_cores.hpp"
#include "tests/support/prng.hpp"
#include "tests/support/tcp_pair.hpp"

namespace corelane {
namespace {

using namespace runtime;
using net::ReceivedBytes;
using net::TcpInput;
using tests::run_on_cores;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span{text});
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

ReceivedBytes piece(std::string_view text) {
  return ReceivedBytes::copy_of(bytes_of(text));
}

TEST(TcpInput, FindsADelimiterCutAnywhere) {
  run_on_cores(1, []() -> Task<void> {
    const std::string text = "ab\rcd\r\r\nrest";
    for (std::size_t first = 0; first <= text.size(); ++first) {
      for (std::size_t second = first; second <= text.size(); ++second) {
        TcpInput input;
        for (const auto& part :
             {text.substr(0, first), text.substr(first, second - first), text.substr(second)}) {
          if (!part.empty()) input.push(piece(part));
        }
        for (std::size_t from = 0; from <= 6; ++from) EXPECT_EQ(input.find("\r\n", from), 8u);
        EXPECT_EQ(input.find("\r\n", 7), 0u);
        EXPECT_EQ(input.find("\r\r\nr", 0), 9u);
        EXPECT_EQ(input.find("x", 0), 0u);
        EXPECT_EQ(text_of(input.view(8)), text.substr(0, 8));
        EXPECT_EQ(input.bytes(), 4u);
        EXPECT_EQ(input.take().text().substr(0, 1), "r");
      }
    }
    co_return;
  });
}

TEST(TcpInput, AViewWithinOnePieceIsNoCopy) {
  run_on_cores(1, []() -> Task<void> {
    TcpInput input;
    input.push(piece("GET / HTTP/1.1\r\nHost: a"));
    const auto line = input.view(16);
    const auto rest = input.take();
    EXPECT_EQ(rest.bytes().data(), line.data() + 16);
    co_return;
  });
}

// A lease for each text. One that was received in parts is sent again.
Task<void> fill(tests::TcpPair& pair, TcpInput& input, std::string_view first,
                std::string_view second) {
  for (const std::string_view text : {first, second}) {
    for (bool is_whole = text.empty(); !is_whole;) {
      EXPECT_TRUE(co_await pair.client.write_all(text));
      auto lease = co_await pair.server.read_some();
      EXPECT_TRUE(lease);
      if (!lease) co_return;
      is_whole = lease->text() == text;
      std::vector<std::byte> rest(text.size() - lease->size());
      if (is_whole) input.push(std::move(*lease));
      if (!is_whole) {
        EXPECT_TRUE(co_await pair.server.read_exactly(rest));
      }
    }
  }
}

TEST(TcpInput, ReturnsBuffersButThatOfItsView) {
  run_on_cores(1, []() -> Task<void> {
    TcpInput input;
    {
      net::Network network({});
      {
        tests::TcpPair pair;
        co_await tests::connect_pair(pair);
        co_await fill(pair, input, "line\nrest ", "behind");
        EXPECT_EQ(input.held_bytes(), 0u);  // leases
        const auto line = input.view(5);
        input.give_back_buffers();
        EXPECT_EQ(input.held_bytes(), 6u);
        EXPECT_EQ(text_of(line), "line\n");
        EXPECT_EQ(text_of(input.view(5)), "rest ");
        EXPECT_EQ(input.view(0).size(), 0u);
        input.give_back_buffers();
        EXPECT_EQ(input.bytes(), 6u);
      }
      co_await network.shutdown();
    }  // no buffer is out
    EXPECT_EQ(input.take().text(), "behind");
  });
}

TEST(TcpInput, WhatUnreadHasShownStaysWhereItIsUntilItIsConsumed) {
  run_on_cores(1, []() -> Task<void> {
    TcpInput input;
    TcpInput* viewed = nullptr;
    {
      net::Network network({});
      {
        tests::TcpPair pair;
        co_await tests::connect_pair(pair);
        co_await fill(pair, input, "command rest", "");
        const auto shown = input.unread();
        co_await fill(pair, input, "behind", "");
        input.give_back_buffers();
        EXPECT_EQ(input.held_bytes(), 6u) << "what was not shown";
        input.outlive_stream(viewed);
        EXPECT_EQ(viewed, &input);
        EXPECT_EQ(input.held_bytes(), 6u);
        EXPECT_EQ(text_of(shown), "command rest");
        input.consume(8);
        EXPECT_EQ(viewed, &input);
        EXPECT_EQ(text_of(input.unread()), "restbehind");
        EXPECT_EQ(viewed, nullptr);
        EXPECT_GT(input.held_bytes(), 0u);
        input.consume(10);
        // The network ends a view; the bytes stay to be read.
        co_await fill(pair, input, "last", "");
        EXPECT_EQ(text_of(input.unread()), "last");
        input.outlive_stream(viewed);
        EXPECT_EQ(viewed, &input);
        viewed->settle();
        EXPECT_EQ(viewed, nullptr);
        EXPECT_EQ(input.seen(), 4u);
        // All that was shown is consumed.
        input.consume(4);
        co_await fill(pair, input, "gone", "");
        EXPECT_EQ(text_of(input.unread()), "gone");
        input.outlive_stream(viewed);
        input.consume(4);
        EXPECT_EQ(viewed, nullptr);
        EXPECT_TRUE(input.empty());
      }
      co_await network.shutdown();
    }  // no buffer is out
  });
}

TEST(TcpInput, ItsNetworkEndsAViewInABuffer) {
  run_on_cores(1, []() -> Task<void> {
    std::array<TcpInput, 3> inputs;
    TcpInput* viewed = nullptr;
    net::Network network({});
    {
      tests::TcpPair pair;
      co_await tests::connect_pair(pair);
      for (TcpInput& input : inputs) co_await fill(pair, input, "line\nrest", "");
    }
    co_await network.shutdown();
    std::array<std::span<const std::byte>, 3> lines;
    for (std::size_t i = 0; i < 3; ++i) {
      lines[i] = inputs[i].view(5);
      inputs[i].outlive_stream(viewed);
      EXPECT_EQ(viewed, &inputs[i]);
    }
    for (const auto& line : lines) EXPECT_EQ(text_of(line), "line\n");
    inputs[1].settle();  // leaves the list from its middle
    inputs[2].clear();
    EXPECT_EQ(viewed, &inputs[0]);
    viewed->settle();
    EXPECT_EQ(viewed, nullptr);
    EXPECT_EQ(text_of(inputs[0].view(4)), "rest");
    EXPECT_EQ(text_of(inputs[1].view(4)), "rest");
    EXPECT_TRUE(inputs[2].empty());
  });
}

TEST(TcpInput, GivesItsBytesOnceAndInOrderHoweverTheyAreAskedFor) {
  run_on_cores(1, []() -> Task<void> {
    tests::Prng random(7);
    TcpInput input;
    std::string model;
    std::string next = "a";
    for (int step = 0; step < 20'000; ++step) {
      EXPECT_EQ(input.bytes(), model.size());
      const std::size_t most = 1 + random.below(40);
      switch (random.below(7)) {
        case 0:
        case 1: {
          std::string text;
          while (text.size() < most) {
            text += next;
            next[0] = next[0] == 'z' ? 'a' : static_cast<char>(next[0] + 1);
          }
          input.push(piece(text));
          model += text;
          break;
        }
        case 2: {
          std::vector<std::byte> into(most);
          const std::size_t count = input.read(into);
          EXPECT_EQ(count, std::min(most, model.size()));
          EXPECT_EQ(text_of(std::span{into}.first(count)), model.substr(0, count));
          if (random.below(3) == 0) {
            input.put_back(std::span{into}.first(count));
          } else {
            model.erase(0, count);
          }
          break;
        }
        case 3: {
          if (model.empty()) break;
          const ReceivedBytes taken = input.take();
          EXPECT_FALSE(taken.empty());
          EXPECT_EQ(taken.text(), model.substr(0, taken.size()));
          model.erase(0, taken.size());
          break;
        }
        case 4: {
          const std::size_t count = std::min(most, model.size());
          EXPECT_EQ(text_of(input.view(count)), model.substr(0, count));
          model.erase(0, count);
          break;
        }
        case 5: {
          EXPECT_EQ(text_of(input.unread()), model);
          EXPECT_EQ(input.seen(), model.size());
          const std::size_t count = std::min(most, model.size());
          input.consume(count);
          model.erase(0, count);
          EXPECT_EQ(input.seen(), model.size());
          break;
        }
        default: {
          if (random.below(10) == 0) input.join();
          if (random.below(10) == 0) input.give_back_buffers();
          input.settle();
          const std::size_t found = input.find("ma", 0);
          const std::size_t expected = model.find("ma");
          EXPECT_EQ(found, expected == std::string::npos ? 0 : expected + 2);
          const std::size_t other = input.find("mn", 0);
          const std::size_t at = model.find("mn");
          EXPECT_EQ(other, at == std::string::npos ? 0 : at + 2);
        }
      }
      if (::testing::Test::HasFailure()) co_return;
    }
    co_return;
  });
}

}  // namespace
}  // namespace corelane
