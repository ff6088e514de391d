// `corelane-load mixed`: pings, publishes and sends in one script, over the same connections.

#include <memory>
#include <string>

#include "perf/load/commands.hpp"
#include "perf/load/mixed_load.hpp"

namespace corelane::perf {

void add_mixed(CLI::App& app, CommandLine& line) {
  CLI::App* mixed = app.add_subcommand("mixed", "Opcodes mixed by a script, all validated.");
  add_common(*mixed, line, "ws://ADDR:PORT/PATH or tcp://ADDR:PORT");
  add_connections(*mixed, line);
  add_depth(*mixed, line);
  add_size(*mixed, line);
  add_rate(*mixed, line);
  add_interval(*mixed, line);
  const auto options = std::make_shared<MixedOptions>();
  mixed
      ->add_option_function<std::string>(
          "--script",
          [options](const std::string& script) {
            if (!options->read_script(script)) throw CLI::ValidationError("--script", script);
          },
          "weights of what each session does")
      ->default_str("ping=70,publish=20,send=10");
  mixed->add_option("--members", options->sessions_each, "sessions that share a channel")
      ->check(CLI::Range(1U, 1'000'000U))
      ->capture_default_str();
  mixed->callback([&line, options] {
    line.settings.load = "mixed";
    line.settings.protocol = Protocol::opcode;
    line.run = [options](CommandLine& chosen) {
      if (chosen.settings.payload_bytes < MixedLedger::kPayloadBytesMin) {
        return wrong_usage("mixed needs --size 16 at least: sender, kind and number");
      }
      return run_and_report(chosen, chosen.settings.connections,
                            MixedLoad::network_options(chosen.settings),
                            [options](LoadContext& context) -> std::unique_ptr<Load> {
                              return std::make_unique<MixedLoad>(context, *options);
                            });
    };
  });
}

}  // namespace corelane::perf
