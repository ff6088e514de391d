// `corelane-load connect`: connections opened and closed, over and over.

#include <memory>

#include "perf/load/commands.hpp"
#include "perf/load/connect_load.hpp"

namespace corelane::perf {

void add_connect(CLI::App& app, CommandLine& line) {
  CLI::App* connect = app.add_subcommand("connect", "Connections opened and closed again.");
  add_common(*connect, line, "ws://ADDR:PORT/PATH or tcp://ADDR:PORT");
  add_connections(*connect, line);
  add_interval(*connect, line);
  connect->callback([&line] {
    line.settings.load = "connect";
    line.settings.payload_bytes = 0;
    line.run = [](CommandLine& chosen) {
      net::NetworkOptions network;
      network.streams_max = chosen.settings.connections;
      network.direct_descriptors = false;
      return run_and_report(chosen, chosen.settings.connections, network,
                            [](LoadContext& context) -> std::unique_ptr<Load> {
                              return std::make_unique<ConnectLoad>(context);
                            });
    };
  });
}

}  // namespace corelane::perf
