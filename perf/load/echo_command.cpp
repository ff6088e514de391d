// `corelane-load echo`: messages that must come back as they were.

#include <memory>

#include "perf/load/commands.hpp"
#include "perf/load/pipeline_load.hpp"
#include "ws/frame.hpp"

namespace perf {

void add_echo(CLI::App& app, CommandLine& line) {
  CLI::App* echo = app.add_subcommand("echo", "Messages that must come back, byte for byte.");
  add_common(*echo, line, "ws://ADDR:PORT/PATH or tcp://ADDR:PORT");
  add_connections(*echo, line);
  add_depth(*echo, line);
  add_size(*echo, line);
  add_rate(*echo, line);
  add_interval(*echo, line);
  const auto text = std::make_shared<bool>(false);
  echo->add_flag("--text", *text, "text messages instead of binary ones");
  echo->callback([&line, text] {
    line.settings.load = "echo";
    line.run = [text](CommandLine& chosen) {
      const Settings& settings = chosen.settings;
      const std::size_t message_bytes =
          settings.payload_bytes + ws::client_header_bytes(settings.payload_bytes);
      return run_and_report(
          chosen, settings.connections, PipelineLoad::network_options(settings, message_bytes),
          [&settings, text](LoadContext& context) -> std::unique_ptr<Load> {
            return std::make_unique<PipelineLoad>(
                context, make_echo_ring(settings.target.scheme, settings.payload_bytes,
                                        settings.depth, *text));
          });
    };
  });
}

}  // namespace perf
