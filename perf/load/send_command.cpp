// `corelane-load send`: opcode Send from session to session.

#include <memory>

#include "perf/load/commands.hpp"
#include "perf/load/send_load.hpp"

namespace corelane::perf {

void add_send(CLI::App& app, CommandLine& line) {
  CLI::App* send = app.add_subcommand("send", "Opcode Send between pairs of sessions.");
  add_common(*send, line, "ws://ADDR:PORT/PATH or tcp://ADDR:PORT");
  add_connections(*send, line);
  add_depth(*send, line);
  add_size(*send, line);
  add_rate(*send, line);
  add_interval(*send, line);
  send->callback([&line] {
    line.settings.load = "send";
    line.settings.protocol = Protocol::opcode;
    line.run = [](CommandLine& chosen) {
      return run_and_report(chosen, 2 * chosen.settings.connections,
                            SendLoad::network_options(chosen.settings),
                            [](LoadContext& context) -> std::unique_ptr<Load> {
                              return std::make_unique<SendLoad>(context);
                            });
    };
  });
}

}  // namespace corelane::perf
