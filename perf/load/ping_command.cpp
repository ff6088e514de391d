// `corelane-load ping`: opcode Ping, answered by Pong.

#include <memory>

#include "perf/load/commands.hpp"
#include "perf/load/opcode_rings.hpp"
#include "perf/load/pipeline_load.hpp"

namespace corelane::perf {
namespace {

constexpr std::size_t kFrameOverhead = 256;  // envelope and headers, generously

}  // namespace

void add_ping(CLI::App& app, CommandLine& line) {
  CLI::App* ping = app.add_subcommand("ping", "Opcode Ping, answered by Pong.");
  add_common(*ping, line, "ws://ADDR:PORT/PATH or tcp://ADDR:PORT");
  add_connections(*ping, line);
  add_depth(*ping, line);
  add_size(*ping, line);
  add_rate(*ping, line);
  add_interval(*ping, line);
  ping->callback([&line] {
    line.settings.load = "ping";
    line.settings.protocol = Protocol::opcode;
    line.run = [](CommandLine& chosen) {
      const Settings& settings = chosen.settings;
      return run_and_report(
          chosen, settings.connections,
          PipelineLoad::network_options(settings, settings.payload_bytes + kFrameOverhead),
          [&settings](LoadContext& context) -> std::unique_ptr<Load> {
            return std::make_unique<PipelineLoad>(
                context,
                make_ping_ring(settings.target.scheme, settings.payload_bytes, settings.depth));
          });
    };
  });
}

}  // namespace corelane::perf
