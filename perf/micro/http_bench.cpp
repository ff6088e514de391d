// HTTP: requests out of bytes, the router, and WebSocket's opening handshake.

#include <fmt/format.h>

#include <string>
#include <vector>

#include "net/http/request_parser.hpp"
#include "net/http/response.hpp"
#include "net/http/router.hpp"
#include "perf/micro/workload.hpp"
#include "ws/handshake.hpp"

namespace corelane::perf {
namespace {

// Names and values of lengths that browsers send.
std::string request_text(std::size_t fields) {
  std::string text = "GET /channels/news?since=17 HTTP/1.1\r\nHost: example.org:8080\r\n";
  for (std::size_t i = 1; i < fields; ++i) {
    text += fmt::format("X-Field-Number-{}: a value of a usual length, {}\r\n", i, i);
  }
  return text + "\r\n";
}

const std::string kUpgrade =
    "GET /ws HTTP/1.1\r\nHost: example.org:8080\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Version: 13\r\nOrigin: http://example.org:8080\r\n"
    "User-Agent: a browser with a name of some length\r\n"
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

class ParseRequest final : public Workload {
 public:
  explicit ParseRequest(std::size_t fields) : text_(request_text(fields)) {}
  std::uint64_t run(std::uint64_t operations) override {
    std::uint64_t sum = 0;
    for (std::uint64_t i = 0; i < operations; ++i) {
      const auto progress = parser_.feed(std::as_bytes(std::span{text_}));
      if (progress.event != net::http::RequestParser::Event::complete) return 0;
      sum += parser_.request().fields.size() + parser_.request().path.size();
      parser_.reset();
    }
    return sum;
  }

 private:
  std::string text_;
  net::http::RequestParser parser_;
};

class WriteResponse final : public Workload {
 public:
  std::uint64_t run(std::uint64_t operations) override {
    std::uint64_t sum = 0;
    for (std::uint64_t i = 0; i < operations; ++i) {
      out_.clear();
      const auto written = net::http::write_response(
          out_, net::http::Status::ok, {.keep_alive = true},
          {.content_type = "application/json", .date = net::http::to_view(date_)},
          R"({"status":"ok"})");
      if (!written) return 0;
      sum += out_.size();
    }
    return sum;
  }

 private:
  net::http::DateText date_ = net::http::format_date(784'111'777);
  std::vector<std::byte> out_;
};

class AcceptKey final : public Workload {
 public:
  std::uint64_t run(std::uint64_t operations) override {
    std::uint64_t sum = 0;
    for (std::uint64_t i = 0; i < operations; ++i) {
      sum += static_cast<unsigned char>(ws::accept_key_of("dGhlIHNhbXBsZSBub25jZQ==")[0]);
    }
    return sum;
  }
};

// All that the server does with the bytes of a handshake.
class Handshake final : public Workload {
 public:
  std::uint64_t run(std::uint64_t operations) override {
    std::uint64_t sum = 0;
    for (std::uint64_t i = 0; i < operations; ++i) {
      const auto progress = parser_.feed(std::as_bytes(std::span{kUpgrade}));
      if (progress.event != net::http::RequestParser::Event::complete) return 0;
      const ws::Upgrade upgrade = ws::check_upgrade(parser_.request(), policy_);
      if (upgrade.kind != ws::UpgradeKind::accepted) return 0;
      response_.clear();
      ws::write_upgrade_response(response_, upgrade);
      sum += response_.size();
      parser_.reset();
    }
    return sum;
  }

 private:
  net::http::RequestParser parser_;
  ws::HandshakePolicy policy_;
  std::string response_;
};

class Lookup final : public Workload {
 public:
  explicit Lookup(std::size_t routes) {
    router_.add("GET", "/healthz", 1);
    router_.add("GET", "/channels/:name", 2);
    for (std::size_t i = 2; i < routes; ++i) {
      router_.add("GET", fmt::format("/things/of/kind-{}", i), static_cast<int>(i));
    }
  }
  std::uint64_t run(std::uint64_t operations) override {
    std::uint64_t sum = 0;
    for (std::uint64_t i = 0; i < operations; ++i) {
      net::http::RouteMatch match;
      const int* handler = router_.lookup("GET", "/channels/news", match);
      if (handler == nullptr) return 0;
      sum += static_cast<unsigned>(*handler) + match.parameter("name").size();
    }
    return sum;
  }

 private:
  net::http::Router<int> router_;
};

}  // namespace

void add_http_cases(Cases& cases) {
  for (const std::size_t fields : {3u, 20u}) {
    cases.add<ParseRequest>({.name = "http/parse_request/fields:" + std::to_string(fields)},
                            fields);
  }
  cases.add<WriteResponse>({.name = "http/write_response"});
  for (const std::size_t routes : {2u, 200u}) {
    cases.add<Lookup>({.name = "http/route/routes:" + std::to_string(routes)}, routes);
  }
  cases.add<AcceptKey>({.name = "handshake/accept_key"});
  cases.add<Handshake>({.name = "handshake/serve"});
}

}  // namespace corelane::perf
