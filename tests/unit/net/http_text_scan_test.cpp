// Goal: a run ends where a loop over its characters says, for every byte, length and place, and
// nothing outside the text is read. Method: texts on the heap, of their exact size, with one
// stranger anywhere or none.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <string_view>

#include "net/http/message.hpp"
#include "net/http/syntax.hpp"
#include "net/http/text_scan.hpp"

namespace corelane {
namespace {

using net::http::AsciiSet;
using net::http::TextScan;

constexpr AsciiSet kTokens{[](char c) { return net::http::is_token_char(c); }};

bool is_field_text(char c) {
  return net::http::is_field_value({&c, 1});
}

TEST(HttpTextScan, KnowsEveryByteAtEveryPlace) {
  for (const std::size_t bytes : {32u, 33u, 63u, 64u, 65u, 100u}) {
    const auto text = std::make_unique<char[]>(bytes);
    const char* const end = text.get() + bytes;
    for (std::size_t at = 0; at < bytes; ++at) {
      for (int byte = 0; byte < 256; ++byte) {
        std::fill_n(text.get(), bytes, 'a');
        const char c = static_cast<char>(byte);
        text[at] = c;
        const char* const stop = text.get() + at;
        ASSERT_EQ(TextScan::skip(kTokens, text.get(), end),
                  net::http::is_token_char(c) ? end : stop)
            << byte << " at " << at << " of " << bytes;
        ASSERT_EQ(TextScan::skip_field_text(text.get(), end), is_field_text(c) ? end : stop)
            << byte << " at " << at << " of " << bytes;
      }
    }
  }
}

TEST(HttpTextScan, BeginsAndEndsAnywhereInTheText) {
  constexpr std::size_t kBytes = 100;
  const auto text = std::make_unique<char[]>(kBytes);
  const char* const end = text.get() + kBytes;
  for (std::size_t from = 0; from <= kBytes; ++from) {
    for (std::size_t at = 0; at <= kBytes; ++at) {
      std::fill_n(text.get(), kBytes, 'a');
      if (at < kBytes) text[at] = '\r';
      const char* const stop = at >= from ? text.get() + at : end;
      ASSERT_EQ(TextScan::skip(kTokens, text.get() + from, end), stop) << from << " " << at;
      ASSERT_EQ(TextScan::skip_field_text(text.get() + from, end), stop) << from << " " << at;
    }
  }
}

TEST(HttpTextScan, ASetHasTheCharactersItWasMadeOfAndNoOther) {
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    EXPECT_EQ(kTokens.contains(c), net::http::is_token_char(c)) << byte;
  }
}

TEST(HttpFieldName, IsComparedByWordsAsByCharacters) {
  for (const std::string_view name :
       {"host", "Host", "expect", "Connection", "content-length", "proxy-connection",
        "TRANSFER-ENCODING", "sec-websocket-extensions"}) {
    const auto compare = [](std::string_view text) {
      return std::array{net::http::field_name_is<"host">(text),
                        net::http::field_name_is<"expect">(text),
                        net::http::field_name_is<"connection">(text),
                        net::http::field_name_is<"content-length">(text),
                        net::http::field_name_is<"proxy-connection">(text),
                        net::http::field_name_is<"transfer-encoding">(text),
                        net::http::field_name_is<"sec-websocket-extensions">(text)};
    };
    const auto expected = [](std::string_view text) {
      return std::array{net::http::field_name_equal(text, "host"),
                        net::http::field_name_equal(text, "expect"),
                        net::http::field_name_equal(text, "connection"),
                        net::http::field_name_equal(text, "content-length"),
                        net::http::field_name_equal(text, "proxy-connection"),
                        net::http::field_name_equal(text, "transfer-encoding"),
                        net::http::field_name_equal(text, "sec-websocket-extensions")};
    };
    EXPECT_EQ(compare(name), expected(name)) << name;
    EXPECT_EQ(std::ranges::count(compare(name), true), 1) << name;
    std::string other{name};
    for (std::size_t at = 0; at < name.size(); ++at) {
      for (int byte = 0; byte < 256; ++byte) {
        other[at] = static_cast<char>(byte);
        ASSERT_EQ(compare(other), expected(other)) << name << " with " << byte << " at " << at;
      }
      other[at] = name[at];
    }
    EXPECT_FALSE(std::ranges::count(compare(name.substr(1)), true)) << name;
  }
}

}  // namespace
}  // namespace corelane
