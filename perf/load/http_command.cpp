// `corelane-load http`: HTTP/1.1 GET, keep-alive, pipelined by --depth. What must come back is
// learned from one response: every other must equal it but for the value of its Date field.

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <memory>
#include <string>
#include <string_view>

#include "net/http/response_parser.hpp"
#include "perf/load/commands.hpp"
#include "perf/load/pipeline_load.hpp"

namespace corelane::perf {
namespace {

constexpr std::size_t kRequestBytesMax = 8192;

std::vector<std::byte> request_of(const Target& target) {
  const std::string text =
      fmt::format("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", target.path, target.host);
  const auto bytes = std::as_bytes(std::span{text});
  return {bytes.begin(), bytes.end()};
}

// The value of the Date field; empty if there is none.
std::vector<ByteRange> date_of(std::span<const std::byte> response) {
  std::string text(reinterpret_cast<const char*>(response.data()), response.size());
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  constexpr std::string_view kName = "\r\ndate:";
  const std::size_t head_end = text.find("\r\n\r\n");
  const std::size_t at = text.find(kName);
  if (at == std::string::npos || at > head_end) return {};
  return {{at + kName.size(), text.find("\r\n", at + kName.size())}};
}

runtime::Task<runtime::Result<MessageRing>> learn_response(LoadContext& context,
                                                           Conversation& conversation) {
  const std::vector<std::byte> request = request_of(context.settings.target);
  std::size_t whole = 0;
  int status = 0;
  const auto asked = co_await conversation.ask(request, [&](std::span<const std::byte> bytes) {
    net::http::ResponseParser parser;
    const auto progress = parser.feed(bytes);
    if (progress.event == net::http::ResponseParser::Event::need_more) return false;
    if (progress.event == net::http::ResponseParser::Event::complete) {
      whole = progress.consumed;
      status = static_cast<int>(parser.response().status);
    }
    return true;
  });
  if (!asked) co_return runtime::Unexpected{asked.error()};
  const auto response = conversation.received().first(whole);
  if (whole == 0 || status < 200 || status > 299) {
    fmt::print(stderr, "corelane-load: {} answers {}\n", context.settings.target.url,
               whole == 0 ? "something that is no HTTP" : std::to_string(status));
    co_return runtime::fail(runtime::ErrorCode::closed, status);
  }
  const Exchange exchange{.sent = request, .answer = {response.begin(), response.end()}};
  const std::vector<Exchange> exchanges(
      ring_messages(std::max(request.size(), response.size()), context.settings.depth), exchange);
  co_return MessageRing(false, exchanges, date_of(response));
}

}  // namespace

void add_http(CLI::App& app, CommandLine& line) {
  CLI::App* http = app.add_subcommand("http", "HTTP/1.1 GET, keep-alive.");
  add_common(*http, line, "http://ADDR:PORT/PATH");
  add_connections(*http, line);
  add_depth(*http, line);
  add_rate(*http, line);
  add_interval(*http, line);
  http->callback([&line] {
    line.settings.load = "http";
    line.settings.payload_bytes = 0;
    line.run = [](CommandLine& chosen) {
      const Settings& settings = chosen.settings;
      return run_and_report(chosen, settings.connections + 1,
                            PipelineLoad::network_options(settings, kRequestBytesMax),
                            [](LoadContext& context) -> std::unique_ptr<Load> {
                              return std::make_unique<PipelineLoad>(context, learn_response);
                            });
    };
  });
}

}  // namespace corelane::perf
