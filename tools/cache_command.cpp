// `cache get|set|del|incr|mget|stats`: the server's cache from the command line.

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <boost/json.hpp>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "services/config/value.hpp"
#include "tools/client_command.hpp"
#include "tools/client_output.hpp"
#include "tools/line_input.hpp"
#include "tools/talk.hpp"
#include "ws/utf8.hpp"

namespace corelane::tools {
namespace {

namespace fbs = protocol::fbs;
namespace json = boost::json;
using protocol::ErrorCode;
using protocol::Opcode;
using runtime::Task;

struct CacheArguments {
  std::string key;
  std::vector<std::string> keys;
  std::string value;  // "-": all of stdin
  std::string by = "1";
  std::optional<std::string> ttl_text;
  std::optional<std::string> version_text;
  std::uint64_t ttl_ms = 0;
  std::uint64_t version = 0;
  std::int64_t delta = 1;
};

std::string printed(Data value) {
  const bool to_terminal = ::isatty(STDOUT_FILENO) == 1;
  if (to_terminal) return to_printable(value);
  return {reinterpret_cast<const char*>(value.data()), value.size()};
}

json::object json_value(std::string_view key, std::uint64_t version, std::uint64_t ttl_left_ms,
                        Data value) {
  json::object object{{"kind", "value"},
                      {"key", key},
                      {"version", std::to_string(version)},
                      {"ttl_left_ms", ttl_left_ms}};
  // As in client_output.hpp: text if it is UTF-8.
  if (ws::is_valid_utf8(value)) {
    object["data"] = std::string_view(reinterpret_cast<const char*>(value.data()), value.size());
  } else {
    object["data_base64"] = to_base64(value);
  }
  return object;
}

// For a code that is no Error, such as a missing key.
int tell_code(const Talk& talk, std::string_view key, ErrorCode code, std::uint64_t version) {
  const std::string_view name = protocol::error_code_name(code);
  if (talk.options.json) {
    talk.print(json::serialize(json::object{
        {"kind", "refused"}, {"key", key}, {"code", name}, {"version", std::to_string(version)}}));
  } else {
    const std::string current = version == 0 ? "" : fmt::format(" (its version is {})", version);
    talk.complain(
        fmt::format("\"{}\": {}{}", to_printable(std::as_bytes(std::span{key})), name, current));
  }
  return kExitServerError;
}

int tell_version(const Talk& talk, std::string_view key, ErrorCode code, std::uint64_t version) {
  if (code != ErrorCode::none) return tell_code(talk, key, code, version);
  talk.print(talk.options.json
                 ? json::serialize(json::object{
                       {"kind", "stored"}, {"key", key}, {"version", std::to_string(version)}})
                 : fmt::format("version {}", version));
  return kExitOk;
}

// --- The commands

Task<int> get(const Talk& talk, const CacheArguments& arguments) {
  int exit_code = kExitOk;
  protocol::CacheGetBody body;
  body.key = arguments.key;
  auto reply = co_await talk.ask(body, exit_code);
  if (!reply) co_return exit_code;
  const auto* got = reply->as<fbs::CacheGetReply>(Opcode::CacheGetReply);
  if (got == nullptr) co_return talk.tell_unreadable();
  if (got->code() != ErrorCode::none) {
    co_return tell_code(talk, arguments.key, got->code(), got->version());
  }
  const Data value = protocol::bytes_of(got->value());
  talk.print(talk.options.json ? json::serialize(json_value(arguments.key, got->version(),
                                                            got->ttl_left_ms(), value))
                               : printed(value));
  co_return kExitOk;
}

Task<int> set(const Talk& talk, const CacheArguments& arguments) {
  std::string value = arguments.value;
  if (value == "-") {
    LineInput input(STDIN_FILENO);
    auto all = co_await input.rest();
    if (!all) {
      if (all.error().code == runtime::ErrorCode::cancelled) co_return kCancelled;
      talk.complain("cannot read stdin: " + describe(all.error()));
      co_return kExitUsage;
    }
    value = std::move(*all);
  }
  int exit_code = kExitOk;
  protocol::CacheSetBody body;
  body.key = arguments.key;
  body.value = std::as_bytes(std::span{value});
  body.ttl_ms = arguments.ttl_ms;
  body.version = arguments.version;
  if (arguments.version_text) body.condition = protocol::CacheCondition::if_version;
  auto reply = co_await talk.ask(body, exit_code);
  if (!reply) co_return exit_code;
  const auto* stored = reply->as<fbs::CacheSetReply>(Opcode::CacheSetReply);
  if (stored == nullptr) co_return talk.tell_unreadable();
  co_return tell_version(talk, arguments.key, stored->code(), stored->version());
}

Task<int> remove(const Talk& talk, const CacheArguments& arguments) {
  int exit_code = kExitOk;
  protocol::CacheDeleteBody body;
  body.key = arguments.key;
  body.version = arguments.version;
  auto reply = co_await talk.ask(body, exit_code);
  if (!reply) co_return exit_code;
  const auto* removed = reply->as<fbs::CacheDeleteReply>(Opcode::CacheDeleteReply);
  if (removed == nullptr) co_return talk.tell_unreadable();
  co_return tell_version(talk, arguments.key, removed->code(), removed->version());
}

Task<int> increment(const Talk& talk, const CacheArguments& arguments) {
  int exit_code = kExitOk;
  protocol::CacheIncrementBody body;
  body.key = arguments.key;
  body.by = arguments.delta;
  auto reply = co_await talk.ask(body, exit_code);
  if (!reply) co_return exit_code;
  const auto* sum = reply->as<fbs::CacheIncrementReply>(Opcode::CacheIncrementReply);
  if (sum == nullptr) co_return talk.tell_unreadable();
  if (sum->code() != ErrorCode::none) {
    co_return tell_code(talk, arguments.key, sum->code(), sum->version());
  }
  talk.print(talk.options.json
                 ? json::serialize(json::object{{"kind", "number"},
                                                {"key", arguments.key},
                                                {"value", std::to_string(sum->value())},
                                                {"version", std::to_string(sum->version())}})
                 : fmt::format("{}", sum->value()));
  co_return kExitOk;
}

// A line a key, in their order; 1 if one of them is not there.
Task<int> multi_get(const Talk& talk, const CacheArguments& arguments) {
  int exit_code = kExitOk;
  const std::vector<std::string_view> keys(arguments.keys.begin(), arguments.keys.end());
  protocol::CacheMultiGetBody body;
  body.keys = keys;
  auto reply = co_await talk.ask(body, exit_code);
  if (!reply) co_return exit_code;
  const auto* many = reply->as<fbs::CacheMultiGetReply>(Opcode::CacheMultiGetReply);
  if (many == nullptr || many->results()->size() != keys.size()) {
    co_return talk.tell_unreadable();
  }
  Data values = protocol::bytes_of(many->values());
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const auto& result = *many->results()->Get(static_cast<flatbuffers::uoffset_t>(i));
    if (result.value_bytes() > values.size()) co_return talk.tell_unreadable();
    const Data value = values.first(result.value_bytes());
    values = values.subspan(result.value_bytes());
    if (result.code() != ErrorCode::none) {
      exit_code = tell_code(talk, keys[i], result.code(), result.version());
    } else if (talk.options.json) {
      talk.print(
          json::serialize(json_value(keys[i], result.version(), result.ttl_left_ms(), value)));
    } else {
      talk.print(fmt::format("{} {}", to_printable(std::as_bytes(std::span{keys[i]})),
                             to_printable(value)));
    }
  }
  co_return exit_code;
}

Task<int> stats(const Talk& talk, const CacheArguments&) {
  int exit_code = kExitOk;
  auto reply = co_await talk.ask(protocol::CacheStatsBody{}, exit_code);
  if (!reply) co_return exit_code;
  const auto* all = reply->as<fbs::CacheStatsReply>(Opcode::CacheStatsReply);
  if (all == nullptr || all->prefixes()->size() != all->counts()->size()) {
    co_return talk.tell_unreadable();
  }
  if (!talk.options.json) {
    talk.print(fmt::format("memory {} of {} bytes", all->memory_used(), all->memory_max()));
  }
  for (flatbuffers::uoffset_t i = 0; i < all->counts()->size(); ++i) {
    const fbs::CacheCounts& one = *all->counts()->Get(i);
    const std::string_view prefix = all->prefixes()->Get(i)->string_view();
    const std::array<std::pair<std::string_view, std::uint64_t>, 9> figures{{
        {"entries", one.entries()},
        {"bytes", one.bytes()},
        {"hits", one.hits()},
        {"misses", one.misses()},
        {"sets", one.sets()},
        {"deletes", one.deletes()},
        {"expired", one.expired()},
        {"evicted", one.evicted()},
        {"refused", one.refused()},
    }};
    json::object object{{"kind", "cache"},
                        {"prefix", prefix},
                        {"memory_used", all->memory_used()},
                        {"memory_max", all->memory_max()}};
    std::string text = i == 0 ? "keys" : to_printable(std::as_bytes(std::span{prefix}));
    for (const auto& [name, value] : figures) {
      object[name] = value;
      text += fmt::format(" {} {}", name, value);
    }
    talk.print(talk.options.json ? json::serialize(object) : text);
  }
  co_return kExitOk;
}

// --- Their arguments

template <class Number>
bool parse_number(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size();
}

// False: a complaint was printed.
bool read_texts(const ClientOptions& options, CacheArguments& arguments) {
  if (arguments.ttl_text) {
    const auto ttl = services::config::parse_duration(*arguments.ttl_text);
    if (!ttl.value || *ttl.value < runtime::kMillisecond) {
      complain(options, fmt::format("--ttl \"{}\": is no length of time of at least 1ms; write "
                                    "30s, 250ms or 2m",
                                    *arguments.ttl_text));
      return false;
    }
    arguments.ttl_ms = static_cast<std::uint64_t>(*ttl.value / runtime::kMillisecond);
  }
  if (arguments.version_text &&
      (!parse_number(*arguments.version_text, arguments.version) || arguments.version == 0)) {
    complain(options, fmt::format("--if-version \"{}\": is no version: a number, as `cache set` "
                                  "and `cache get --json` print it",
                                  *arguments.version_text));
    return false;
  }
  if (!parse_number(arguments.by, arguments.delta)) {
    complain(options, fmt::format("--by \"{}\": is no number of 64 bits", arguments.by));
    return false;
  }
  return true;
}

struct CacheCommand {
  std::string_view name;
  std::string_view usage;
  std::string_view description;
  Task<int> (*run)(const Talk& talk, const CacheArguments& arguments);
};

constexpr std::array kCacheCommands{
    CacheCommand{"get", "KEY", "Prints the value of a key; exit code 1 if it is missing.", get},
    CacheCommand{"set", "KEY VALUE|-", "Stores a value and prints its version.", set},
    CacheCommand{"del", "KEY", "Deletes a key; exit code 1 if it is missing.", remove},
    CacheCommand{"incr", "KEY", "Adds to a number and prints the sum; a missing key counts as 0.",
                 increment},
    CacheCommand{"mget", "KEY...", "Prints a line for each key: KEY VALUE.", multi_get},
    CacheCommand{"stats", "", "Prints the figures of the cache, and of each of its namespaces.",
                 stats},
};

std::string usage() {
  std::string text = "corelane cache: reads and changes the server's cache\n\n";
  for (const CacheCommand& command : kCacheCommands) {
    text += fmt::format("  corelane cache {:<18} {}\n",
                        fmt::format("{} {}", command.name, command.usage), command.description);
  }
  return text + "\n`corelane cache COMMAND --help` lists the flags of a command.\n";
}

void add_arguments(CommandLine& line, std::string_view name, CacheArguments& arguments) {
  if (name == "mget") {
    line.add_arguments("KEY", arguments.keys, "keys");
  } else if (name != "stats") {
    line.add_argument("KEY", arguments.key, "the key");
  }
  if (name == "set") {
    line.add_argument("VALUE|-", arguments.value, "the value; - takes all of stdin");
    line.add_text("--ttl", "TIME", arguments.ttl_text,
                  "how long it lives (default: as configured for its namespace)");
  }
  if (name == "set" || name == "del") {
    line.add_text("--if-version", "V", arguments.version_text,
                  "only if the key has this version, otherwise exit code 1");
  }
  if (name == "incr") {
    line.add_text("--by", "N", arguments.by, "how much to add; may be negative (default 1)");
  }
}

Task<int> run_welcome(const Talk& talk, const CacheCommand& command,
                      const CacheArguments& arguments) {
  co_return co_await talk.while_welcome(command.run(talk, arguments));
}

}  // namespace

int run_cache(const Arguments& arguments) {
  const std::string name = arguments.empty() ? "" : arguments.front();
  if (name == "--help" || name == "-h") {
    print_line(usage());
    return kExitOk;
  }
  for (const CacheCommand& command : kCacheCommands) {
    if (command.name != name) continue;
    ClientOptions options("cache " + name);
    CacheArguments given;
    auto line = client_command_line(std::string(command.description), options);
    add_arguments(line, name, given);
    const Arguments rest(arguments.begin() + 1, arguments.end());
    if (const auto code = parse_client_arguments(line, rest, options)) return *code;
    if (!read_texts(options, given)) return kExitUsage;
    return run_client(options, [&](Talk& talk) { return run_welcome(talk, command, given); });
  }
  const ClientOptions options("cache");
  complain(options, name.empty() ? "needs a command: get, set, del, incr, mget, stats"
                                 : fmt::format("has no command {}: get, set, del, incr, mget, "
                                               "stats",
                                               name));
  return kExitUsage;
}

}  // namespace corelane::tools
