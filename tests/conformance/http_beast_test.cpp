// Goal: what our head check takes, Boost.Beast takes too and reads in the same way; and the quick
// way through a head gives the same verdict, request and status as the careful one. Method: the
// corpus of legal and malformed requests, and responses, as they are and with random edits; each is
// read by both readers, whole (lines are skimmed) and byte by byte (none is).
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "net/http/request_parser.hpp"
#include "tests/conformance/http_corpus.hpp"
#include "tests/support/beast_head.hpp"
#include "tests/support/seed.hpp"
#include "tests/unit/net/http_support.hpp"

namespace corelane {
namespace {

using net::http::HeadCheck;
using net::http::RequestParser;

std::vector<std::string> request_texts() {
  std::vector<std::string> texts;
  for (const auto* cases :
       {&http_corpus::kRequestLines, &http_corpus::kVersions, &http_corpus::kFields,
        &http_corpus::kFraming, &http_corpus::kChunks, &http_corpus::kLegal}) {
    for (const http_corpus::Case& one : *cases) texts.push_back(one.text);
  }
  texts.push_back(http_corpus::get("Proxy-Connection: keep-alive, x\r\nX-Empty:\r\nX: \t \r\n"));
  texts.push_back(http_corpus::get("Proxy-Connection: a b\r\n"));
  texts.push_back(http_corpus::get("Connection: close,\t, upgrade\r\nExpect: 100-Continue\r\n"));
  texts.push_back("GET http://Example.org?q=%zz HTTP/1.1\r\nHost: eXample.ORG\r\n\r\n");
  texts.push_back("POST / HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length: 3\r\nCookie: " +
                  std::string(100, 'c') + "\x80; q=\"\xff\"\r\n\r\nabc");
  return texts;
}

std::vector<std::string> response_texts() {
  return {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok",
          "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
          "HTTP/1.0 404 \r\nServer:\t a b \r\n\r\n",
          "HTTP/1.1 204 No Content\r\nContent-Length: 99999999999999999999\r\n\r\n",
          "HTTP/1.1 200 \xe4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"};
}

// One or a few bytes changed, put in, taken out, or a piece of it put elsewhere.
std::string edited(std::string text, tests::Prng& random) {
  using namespace std::string_view_literals;
  static constexpr std::string_view kBytes = "\r\n\t :,;%#?/\0\x01\x7f\x80\xff_aAzZ09-.()@\"=+*"sv;
  for (std::uint64_t edits = 1 + random.below(3); edits > 0 && !text.empty(); --edits) {
    const std::size_t at = random.below(text.size());
    const char byte = kBytes[random.below(kBytes.size())];
    switch (random.below(4)) {
      case 0:
        text[at] = byte;
        break;
      case 1:
        text.insert(at, 1, byte);
        break;
      case 2:
        text.erase(at, 1 + random.below(3));
        break;
      default:
        text.insert(random.below(text.size()), text.substr(at, 1 + random.below(40)));
        break;
    }
  }
  return text;
}

// All that can be seen of the first request.
std::string read(const std::string& text, const http_test::Cutter& cutter,
                 const net::http::Limits& limits) {
  RequestParser parser{limits};
  http_test::Feeder feeder;
  const auto outcome = feeder.feed(parser, text, cutter);
  std::string seen = std::to_string(static_cast<int>(outcome.event)) + " " +
                     std::to_string(static_cast<int>(parser.status()));
  if (outcome.event != RequestParser::Event::complete) return seen;
  const net::http::Request& request = parser.request();
  for (const std::string_view part :
       {request.method, request.target, request.path, request.query, request.host}) {
    seen.append("|").append(part);
  }
  for (const net::http::Field& field : request.fields) {
    seen.append("\n").append(field.name).append(":").append(field.value);
  }
  seen.append("\n").append(http_test::as_text(request.body));
  return seen + (request.keep_alive ? "open" : "close") + std::to_string(outcome.consumed);
}

void expect_same(const std::string& text, const net::http::Limits& limits) {
  EXPECT_EQ(tests::difference_to_beast(text, HeadCheck::Kind::request, limits), "") << text;
  EXPECT_EQ(read(text, http_test::whole(), limits), read(text, http_test::pieces_of(1), limits))
      << text;
}

TEST(HttpBeast, ReadsWhatWeTakeInTheSameWay) {
  for (const std::string& text : request_texts()) expect_same(text, {});
  for (const std::string& text : response_texts()) {
    EXPECT_EQ(tests::difference_to_beast(text, HeadCheck::Kind::response), "") << text;
  }
}

TEST(HttpBeast, ReadsWhatWeTakeOfEditedRequestsInTheSameWay) {
  const tests::Seed seed = tests::test_seed();
  tests::Prng random = seed.prng();
  const std::vector<std::string> texts = request_texts();
  const net::http::Limits small{.request_line_bytes_max = 32,
                                .header_bytes_max = 64,
                                .fields_max = 3,
                                .body_bytes_max = 8,
                                .chunk_line_bytes_max = 16,
                                .chunk_extension_bytes_max = 16};
  for (int round = 0; round < 20'000 && !HasFailure(); ++round) {
    const std::string text = edited(texts[random.below(texts.size())], random);
    expect_same(text, random.below(4) == 0 ? small : net::http::Limits{});
  }
}

TEST(HttpBeast, ReadsWhatWeTakeOfEditedResponsesInTheSameWay) {
  const tests::Seed seed = tests::test_seed();
  tests::Prng random = seed.prng();
  const std::vector<std::string> texts = response_texts();
  for (int round = 0; round < 20'000 && !HasFailure(); ++round) {
    const std::string text = edited(texts[random.below(texts.size())], random);
    EXPECT_EQ(tests::difference_to_beast(text, HeadCheck::Kind::response), "") << text;
  }
}

}  // namespace
}  // namespace corelane
