// `corelane-load fanout`: one publisher, many subscribers.

#include <memory>

#include "perf/load/commands.hpp"
#include "perf/load/fanout_load.hpp"

namespace perf {

void add_fanout(CLI::App& app, CommandLine& line) {
  CLI::App* fanout =
      app.add_subcommand("fanout", "One publisher; subscribers that get everything in order.");
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
      return run_and_report(chosen, settings.connections + options->stalled + options->slow + 1,
                            FanoutLoad::network_options(settings, *options),
                            [&settings, options](LoadContext& context) -> std::unique_ptr<Load> {
                              return std::make_unique<FanoutLoad>(context, *options,
                                                                  make_fanout_protocol(settings));
                            });
    };
  });
}

}  // namespace perf
