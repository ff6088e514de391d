// `corelane-load echo`: messages that must come back as they were.

#include <memory>

#include "perf/load/commands.hpp"
#include "perf/load/inflating_checker.hpp"
#include "perf/load/pipeline_load.hpp"
#include "ws/frame.hpp"

namespace corelane::perf {
namespace {

std::unique_ptr<Load> make_compressed_echo(LoadContext& context) {
  const Settings& settings = context.settings;
  std::shared_ptr<LearnedAnswers> learned;
  const auto make_checker = [learned](const MessageRing& ring, std::size_t first) mutable {
    if (learned == nullptr) learned = std::make_shared<LearnedAnswers>(ring);
    return std::make_unique<InflatingChecker>(*learned, first);
  };
  return std::make_unique<PipelineLoad>(
      context, make_compressed_ring(settings.payload_bytes, settings.depth), make_checker);
}

}  // namespace

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
  echo->add_flag("--batch", line.settings.batched,
                 "messages leave --depth at a time, in one write, once all before have come back");
  echo->add_flag("--compressed", line.settings.compressed,
                 "text messages through permessage-deflate, each compressed on its own");
  echo->callback([&line, text] {
    line.settings.load = "echo";
    line.run = [text](CommandLine& chosen) {
      const Settings& settings = chosen.settings;
      if (settings.compressed && settings.target.scheme != Scheme::ws) {
        return wrong_usage("--compressed is WebSocket's: give a ws:// URL");
      }
      if (settings.batched && settings.is_open_loop()) {
        return wrong_usage("--batch is a closed loop: it has no --rate");
      }
      const std::size_t message_bytes =
          settings.payload_bytes + ws::client_header_bytes(settings.payload_bytes);
      return run_and_report(
          chosen, settings.connections, PipelineLoad::network_options(settings, message_bytes),
          [&settings, text](LoadContext& context) -> std::unique_ptr<Load> {
            if (settings.compressed) return make_compressed_echo(context);
            return std::make_unique<PipelineLoad>(
                context, make_echo_ring(settings.target.scheme, settings.payload_bytes,
                                        settings.depth, *text));
          });
    };
  });
}

}  // namespace corelane::perf
