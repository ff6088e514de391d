// Goal: an input gives its bytes once and in order, whatever is asked of it. Method: random
// operations on an input and on a plain string, compared; delimiters that are cut by the borders of
// pieces, at each place.
#include "net/tcp_input.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/on_cores.hpp"
#include "tests/support/prng.hpp"

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
