// `corelane-load fanout`: publishers and many subscribers.

#include <memory>
#include <string>
#include <string_view>

#include "perf/load/commands.hpp"
#include "perf/load/fanout_load.hpp"

namespace corelane::perf {
namespace {

// Why these do not go together; empty if they do.
std::string refusal(const Settings& settings, const FanoutOptions& options) {
  if (settings.protocol == Protocol::raw && options.channels > 1) {
    return "--channels: the raw protocols know of none";
  }
  if (settings.connections < options.channels) {
    return "--channels: there must be a subscriber for each";
  }
  if (options.publishers > 1 && settings.payload_bytes < sizeof(std::uint64_t)) {
    return "--publishers: their messages need --size 8, to tell them apart";
  }
  if (options.publishers > 1 && settings.protocol == Protocol::raw &&
      settings.target.scheme == Scheme::tcp) {
    return "--publishers: bytes of several mix where messages have no frames";
  }
  return {};
}

}  // namespace

void add_fanout(CLI::App& app, CommandLine& line) {
  CLI::App* fanout =
      app.add_subcommand("fanout", "Publishers; subscribers that get everything in order.");
  add_common(*fanout, line, "ws://ADDR:PORT or tcp://ADDR:PORT");
  add_size(*fanout, line);
  add_rate(*fanout, line);
  add_interval(*fanout, line);
  add_protocol(*fanout, line, {"raw", "opcode", "nats", "resp"});
  const auto options = std::make_shared<FanoutOptions>();
  fanout->add_option("--subscribers", line.settings.connections, "those that are counted")
      ->check(CLI::Range(1U, 1'000'000U))
      ->capture_default_str();
  fanout
      ->add_option("--in-flight", line.settings.depth,
                   "publishes on their way; unless given 1, or many with --rate")
      ->check(CLI::Range(1U, 1U << 20));
  fanout->add_option("--channels", options->channels, "subscribers are spread over this many")
      ->check(CLI::Range(1U, 100'000U))
      ->capture_default_str();
  fanout->add_option("--publishers", options->publishers, "connections that publish, a channel")
      ->check(CLI::Range(1U, 10'000U))
      ->capture_default_str();
  fanout->add_flag("--one-by-one", options->one_by_one,
                   "each publish leaves in a write of its own");
  fanout->add_option("--stalled", options->stalled, "more that never read")->capture_default_str();
  fanout->add_option("--slow", options->slow, "more that read slowly")->capture_default_str();
  fanout->add_option("--slow-rate", options->slow_bytes_per_second, "bytes a second, each of them")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  fanout->callback([&line, options] {
    line.settings.load = "fanout";
    line.run = [options](CommandLine& chosen) {
      const Settings& settings = chosen.settings;
      if (make_fanout_protocol(settings) == nullptr) {
        return wrong_usage("this protocol is not spoken over WebSocket: give a tcp:// URL");
      }
      if (const std::string why = refusal(settings, *options); !why.empty()) {
        return wrong_usage(why);
      }
      const net::NetworkOptions network = FanoutLoad::network_options(settings, *options);
      return run_and_report(chosen, network.streams_max, network,
                            [&settings, options](LoadContext& context) -> std::unique_ptr<Load> {
                              return std::make_unique<FanoutLoad>(
                                  context, *options, [&settings](std::string_view channel) {
                                    return make_fanout_protocol(settings, channel);
                                  });
                            });
    };
  });
}

}  // namespace corelane::perf
