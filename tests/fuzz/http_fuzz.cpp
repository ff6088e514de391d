// Goal: no input makes the HTTP parsers crash, loop, or say different things for different cuts of
// the same bytes; and a head that is taken is taken by Boost.Beast, too, and says the same to it.
// Method: the first byte picks parser and limits, the second the cut; the rest is the stream, fed
// whole, byte by byte and in the chosen cut. Byte by byte no line is skimmed, so that the quick way
// and the careful way through a head are compared as well.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

#include "net/http/request_parser.hpp"
#include "net/http/response_parser.hpp"
#include "net/http/router.hpp"
#include "net/http/syntax.hpp"
#include "tests/support/beast_head.hpp"

namespace corelane {
namespace {

using net::http::Limits;
using net::http::RequestParser;
using net::http::ResponseParser;

void demand(bool holds) {
  if (!holds) std::abort();
}

std::string_view to_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void append_fields(std::string& log, std::span<const net::http::Field> fields) {
  for (const net::http::Field& field : fields) {
    demand(net::http::is_token(field.name));
    demand(net::http::is_field_value(field.value));
    log.append(field.name).append(":").append(field.value).append("\n");
  }
}

const net::http::Router<int>& router() {
  static const net::http::Router<int> made = [] {
    net::http::Router<int> routes;
    routes.add("GET", "/", 1);
    routes.add("GET", "/a/:b", 2);
    routes.add("POST", "/a/b", 3);
    routes.add("GET", "/a/:b/c/:d", 4);
    routes.add("GET", "/*tail", 5);
    return routes;
  }();
  return made;
}

void append_request(std::string& log, const net::http::Request& request) {
  demand(net::http::is_token(request.method));
  demand(request.fields.size() <= 64);
  log.append(request.method).append(" ").append(request.target).append(" ").append(request.host);
  log.append(request.keep_alive ? " open\n" : " close\n");
  append_fields(log, request.fields);
  log.append(to_text(request.body));
  net::http::RouteMatch match;
  const int* handler = router().lookup(request.method, request.path, match);
  log.append(handler == nullptr ? "-" : std::to_string(*handler));
  for (const auto& parameter : match.parameters()) log.append(parameter.value).append(";");
}

// Everything that can be seen of a stream of requests.
std::string read_requests(std::span<const std::byte> stream, std::size_t piece,
                          const Limits& limits) {
  std::string log;
  RequestParser parser{limits};
  while (!stream.empty()) {
    const auto progress = parser.feed(stream.first(std::min(piece, stream.size())));
    demand(progress.consumed <= std::min(piece, stream.size()));
    if (progress.event == RequestParser::Event::error) {
      return log + "error " + std::to_string(static_cast<int>(parser.status()));
    }
    if (progress.event == RequestParser::Event::complete) {
      append_request(log, parser.request());
      parser.reset();
    }
    if (progress.event == RequestParser::Event::refused) {
      log.append("refused ").append(std::to_string(static_cast<int>(parser.status())));
      parser.reset();
    }
    demand(progress.consumed > 0);
    stream = stream.subspan(progress.consumed);
  }
  return log + (parser.is_idle() ? "idle" : "pending");
}

std::string read_responses(std::span<const std::byte> stream, std::size_t piece,
                           const Limits& limits) {
  std::string log;
  ResponseParser parser{limits};
  while (!stream.empty()) {
    const auto progress = parser.feed(stream.first(std::min(piece, stream.size())));
    demand(progress.consumed <= std::min(piece, stream.size()));
    if (progress.event == ResponseParser::Event::error) {
      return log + "error " + std::to_string(static_cast<int>(parser.failure()));
    }
    if (progress.event == ResponseParser::Event::complete) {
      log.append(std::to_string(static_cast<int>(parser.response().status)));
      append_fields(log, parser.response().fields);
      log.append(to_text(parser.response().body));
      parser.reset();
    }
    demand(progress.consumed > 0);
    stream = stream.subspan(progress.consumed);
  }
  log += parser.feed_end() == ResponseParser::Event::complete
             ? std::string{to_text(parser.response().body)}
             : std::to_string(static_cast<int>(parser.failure()));
  return log;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const bool is_request = (data[0] & 1) == 0;
  const bool is_small = (data[0] & 2) != 0;
  const std::size_t piece = data[1] + std::size_t{1};
  const auto stream = std::as_bytes(std::span{data + 2, size - 2});
  const Limits limits = is_small ? Limits{.request_line_bytes_max = 24,
                                          .header_bytes_max = 48,
                                          .fields_max = 3,
                                          .body_bytes_max = 8,
                                          .chunk_line_bytes_max = 12,
                                          .chunk_extension_bytes_max = 16}
                                 : Limits{};
  using Kind = net::http::HeadCheck::Kind;
  const Kind kind = is_request ? Kind::request : Kind::response;
  demand(tests::difference_to_beast(to_text(stream), kind, limits).empty());
  const auto read = is_request ? read_requests : read_responses;
  const std::string whole = read(stream, std::max<std::size_t>(stream.size(), 1), limits);
  demand(read(stream, 1, limits) == whole);
  demand(read(stream, piece, limits) == whole);
  return 0;
}

}  // namespace corelane
