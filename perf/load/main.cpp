// corelane-load: offers load to a server and reports what came back and what it cost. Exit status:
// 0 all was well, 1 the server answered wrongly, lost something or closed, 2 wrong usage, 3 the
// load could not be run.

#include <CLI/CLI.hpp>

#include "perf/load/commands.hpp"

namespace perf = corelane::perf;

int main(int argc, char** argv) {
  perf::CommandLine line;
  CLI::App app{"Offers load to a server and reports what came back and what it cost."};
  app.require_subcommand(1);
  perf::add_echo(app, line);
  perf::add_fanout(app, line);
  perf::add_ping(app, line);
  perf::add_mixed(app, line);
  perf::add_send(app, line);
  perf::add_http(app, line);
  perf::add_resp(app, line);
  perf::add_connect(app, line);
  perf::add_idle(app, line);
  try {
    app.parse(argc, argv);
  } catch (const CLI::RuntimeError& error) {
    return error.get_exit_code();  // said already
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : perf::kUsage;
  }
  return line.run(line);
}
