#pragma once
// Feeds HTTP parsers in test-chosen cuts. Every piece is a heap buffer of its own and of its exact
// size, so that AddressSanitizer sees a read past a piece and a view into a piece that is gone.

#include <algorithm>
#include <cstddef>
#include <functional>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/http/request_parser.hpp"

namespace corelane::http_test {

inline std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span{text});
}
inline std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// How many bytes the next piece has, at least 1; it is cut to what is left.
using Cutter = std::function<std::size_t()>;

inline Cutter whole() {
  return [] { return std::size_t{1} << 30; };
}
inline Cutter pieces_of(std::size_t bytes) {
  return [bytes] { return bytes; };
}
inline Cutter random_pieces(std::mt19937_64& random, std::size_t bytes_max) {
  return [&random, bytes_max] { return 1 + random() % bytes_max; };
}

// Keeps the pieces alive, as a connection keeps the buffer it parses in place.
class Feeder {
 public:
  struct Outcome {
    net::http::RequestParser::Event event;
    std::size_t consumed;  // of the whole text
    bool expected_continue = false;
  };

  // Until the request is complete or wrong, or the text ends.
  Outcome feed(net::http::RequestParser& parser, std::string_view text, const Cutter& cutter) {
    using Event = net::http::RequestParser::Event;
    Outcome outcome{Event::need_more, 0};
    while (outcome.consumed < text.size()) {
      const std::string_view piece = text.substr(outcome.consumed, cutter());
      auto copy = std::make_unique<std::byte[]>(piece.size());
      std::ranges::copy(as_bytes(piece), copy.get());
      const auto progress = parser.feed({copy.get(), piece.size()});
      pieces_.push_back(std::move(copy));
      outcome.event = progress.event;
      outcome.consumed += progress.consumed;
      if (progress.event == Event::expect_continue) outcome.expected_continue = true;
      if (progress.event == Event::complete || progress.event == Event::refused) break;
      if (progress.event == Event::error) break;
    }
    return outcome;
  }
  // Frees all pieces but the last: the others have been fed and may be reused by their owner.
  void release_all_but_last() {
    if (pieces_.size() > 1) pieces_.erase(pieces_.begin(), pieces_.end() - 1);
  }

 private:
  std::vector<std::unique_ptr<std::byte[]>> pieces_;
};

}  // namespace corelane::http_test
