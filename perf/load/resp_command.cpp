// `corelane-load resp`: RESP GET or SET, as redis-benchmark does with -P. Keys load:0, load:1, …
// hold different values, so that an answer to another GET is noticed.

#include <fmt/format.h>

#include <memory>

#include "perf/load/commands.hpp"
#include "perf/load/pipeline_load.hpp"

namespace corelane::perf {
namespace {

constexpr std::size_t kCommandOverhead = 64;
constexpr std::string_view kDone = "+OK\r\n";

using Bytes = std::vector<std::byte>;

void append(Bytes& to, std::string_view text) {
  const auto bytes = std::as_bytes(std::span{text});
  to.insert(to.end(), bytes.begin(), bytes.end());
}

// All keys have one length, so that all messages of the ring have one length.
std::string key_of(std::size_t number) {
  return fmt::format("load:{:06}", number);
}

Bytes set_command(std::size_t number, const Bytes& value) {
  const std::string key = key_of(number);
  Bytes command;
  append(command,
         fmt::format("*3\r\n$3\r\nSET\r\n${}\r\n{}\r\n${}\r\n", key.size(), key, value.size()));
  command.insert(command.end(), value.begin(), value.end());
  append(command, "\r\n");
  return command;
}

Exchange get_exchange(std::size_t number, const Bytes& value) {
  const std::string key = key_of(number);
  Exchange exchange;
  append(exchange.sent, fmt::format("*2\r\n$3\r\nGET\r\n${}\r\n{}\r\n", key.size(), key));
  append(exchange.answer, fmt::format("${}\r\n", value.size()));
  exchange.answer.insert(exchange.answer.end(), value.begin(), value.end());
  append(exchange.answer, "\r\n");
  return exchange;
}

// Sets all keys; what GET then answers is known.
runtime::Task<runtime::Result<MessageRing>> make_resp_ring(LoadContext& context,
                                                           Conversation& conversation,
                                                           bool is_set) {
  const Settings& settings = context.settings;
  const auto values =
      make_payloads(ring_messages(settings.payload_bytes, settings.depth), settings.payload_bytes);
  std::vector<Exchange> exchanges;
  Bytes commands;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const Bytes set = set_command(i, values[i]);
    commands.insert(commands.end(), set.begin(), set.end());
    if (is_set) {
      Exchange exchange{.sent = set, .answer = {}};
      append(exchange.answer, kDone);
      exchanges.push_back(std::move(exchange));
    } else {
      exchanges.push_back(get_exchange(i, values[i]));
    }
  }
  const std::size_t answers = values.size() * kDone.size();
  const auto set = co_await conversation.ask(
      commands, [&](std::span<const std::byte> bytes) { return bytes.size() >= answers; });
  if (!set) co_return runtime::Unexpected{set.error()};
  co_return MessageRing(false, exchanges);
}

}  // namespace

void add_resp(CLI::App& app, CommandLine& line) {
  CLI::App* resp = app.add_subcommand("resp", "RESP GET or SET, pipelined by --depth.");
  add_common(*resp, line, "tcp://ADDR:PORT");
  add_connections(*resp, line);
  add_depth(*resp, line);
  add_size(*resp, line);
  add_rate(*resp, line);
  add_interval(*resp, line);
  const auto command = std::make_shared<std::string>("get");
  resp->add_option("--command", *command)
      ->check(CLI::IsMember({"get", "set"}))
      ->capture_default_str();
  resp->callback([&line, command] {
    line.settings.load = "resp";
    line.settings.protocol = Protocol::resp;
    line.run = [is_set = *command == "set"](CommandLine& chosen) {
      const Settings& settings = chosen.settings;
      return run_and_report(
          chosen, settings.connections + 1,
          PipelineLoad::network_options(settings, settings.payload_bytes + kCommandOverhead),
          [is_set](LoadContext& context) -> std::unique_ptr<Load> {
            return std::make_unique<PipelineLoad>(
                context, [is_set](LoadContext& on, Conversation& conversation) {
                  return make_resp_ring(on, conversation, is_set);
                });
          });
    };
  });
}

}  // namespace corelane::perf
