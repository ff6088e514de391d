// `corelane-load idle`: memory of connections that say nothing.

#include <cstdio>
#include <memory>

#include "perf/load/commands.hpp"
#include "perf/load/idle_load.hpp"
#include "perf/load/report.hpp"

namespace corelane::perf {

void add_idle(CLI::App& app, CommandLine& line) {
  CLI::App* idle = app.add_subcommand("idle", "Memory of connections that say nothing.");
  add_common(*idle, line, "ws://ADDR:PORT/PATH or tcp://ADDR:PORT");
  add_connections(*idle, line);
  add_protocol(*idle, line, {"raw", "opcode"});
  idle->get_option("--server-pid")->required();
  const auto hold_seconds = std::make_shared<double>(2);
  idle->add_option("--hold", *hold_seconds, "seconds before memory is read")
      ->check(CLI::Range(0.0, 86'400.0))
      ->capture_default_str();
  idle->callback([&line, hold_seconds] {
    line.settings.load = "idle";
    line.run = [hold_seconds](CommandLine& chosen) {
      const auto result =
          run_idle(chosen.settings, static_cast<runtime::Nanoseconds>(*hold_seconds * 1e9));
      if (!result) return not_run(result.error());
      const std::string text = chosen.output.json ? to_json(chosen.settings, *result)
                                                  : to_text(chosen.settings, *result);
      std::fputs(text.c_str(), stdout);
      return result->closed_early == 0 ? 0 : kServerFaulty;
    };
  });
}

}  // namespace corelane::perf
