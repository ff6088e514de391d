// GET, MGET, SET and PING of the Redis protocol, the keys sharded over all cores: each core
// listens, and asks the owner of a key by submit_to; MGET asks each owner once, all at the same
// time.
//
//   build/release/tools/examples/resp_server 127.0.0.1:6380 2
//   redis-benchmark -p 6380 -t get,set -P 16

#include <fmt/core.h>

#include <charconv>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <corelane/net/tcp.hpp>
#include <corelane/runtime/combine.hpp>
#include <corelane/runtime/runtime.hpp>
#include <corelane/runtime/sharded.hpp>
#include <corelane/runtime/submit.hpp>

using namespace corelane;
using runtime::Core;
using runtime::CoreId;
using runtime::Task;

namespace {

constexpr std::size_t kCommandMax = 1024 * 1024;
constexpr long kWordsMax = 1024;
constexpr std::size_t kBatchMax = 256 * 1024;         // of answers that leave together
constexpr std::size_t kAnswerMax = 16 * 1024 * 1024;  // of MGET
constexpr std::string_view kEnd = "\r\n";

struct Hash {
  using is_transparent = void;
  std::size_t operator()(std::string_view key) const noexcept {
    return std::hash<std::string_view>{}(key);
  }
};
using Table = std::unordered_map<std::string, std::string, Hash, std::equal_to<>>;
runtime::Sharded<Table> tables;

// --- *2\r\n$3\r\nGET\r\n$3\r\nkey\r\n

struct Command {
  std::vector<std::string_view> words{};
  std::size_t used = 0;  // 0: it is not whole yet
  bool is_malformed = false;
};

// The number behind `mark`, and what stands behind its line in `text`; -1: not whole or malformed.
long take_number(std::string_view& text, char mark, bool& is_malformed) {
  if (text.empty()) return -1;
  if (text[0] != mark) {
    is_malformed = true;
    return -1;
  }
  const std::size_t end = text.substr(0, 16).find(kEnd);
  long number = -1;
  if (end == std::string_view::npos) {
    is_malformed = text.size() >= 16;
    return -1;
  }
  const auto parsed = std::from_chars(text.data() + 1, text.data() + end, number);
  if (parsed.ptr != text.data() + end || number < 0) is_malformed = true;
  text.remove_prefix(end + kEnd.size());
  return number;
}

// The memory of `command` is used again for each.
void parse(std::string_view text, Command& command) {
  command.words.clear();
  command.used = 0;
  const std::size_t size = text.size();
  const long count = take_number(text, '*', command.is_malformed);
  if (count > kWordsMax || count == 0) command.is_malformed = true;
  for (long i = 0; i < count && !command.is_malformed; ++i) {
    const long bytes = take_number(text, '$', command.is_malformed);
    if (bytes < 0 || text.size() < static_cast<std::size_t>(bytes) + kEnd.size()) return;
    command.words.push_back(text.substr(0, static_cast<std::size_t>(bytes)));
    text.remove_prefix(static_cast<std::size_t>(bytes) + kEnd.size());
  }
  if (count > 0) command.used = size - text.size();
}

// --- Answers

void append_value(std::string& out, const std::string* value) {
  if (value == nullptr) {
    out += "$-1\r\n";
  } else {
    fmt::format_to(std::back_inserter(out), "${}\r\n{}\r\n", value->size(), *value);
  }
}

CoreId owner_of(std::string_view key) {
  return static_cast<CoreId>(Hash{}(key) % Core::current().cores());
}

// On the owner.
std::string look_up(std::string_view key) {
  const auto found = tables->find(key);
  std::string answer;
  append_value(answer, found != tables->end() ? &found->second : nullptr);
  return answer;
}

Task<void> get(std::string_view key, std::string& out) {
  const CoreId owner = owner_of(key);
  if (owner == Core::current().id()) {
    const auto found = tables->find(key);
    append_value(out, found != tables->end() ? &found->second : nullptr);
  } else {
    auto ask = [name = std::string{key}] { return look_up(name); };
    out += co_await runtime::submit_to(owner, std::move(ask));
  }
}

using Texts = std::vector<std::string>;

// As many as fit into an answer, and one more.
Task<Texts> look_up_on(CoreId owner, Texts keys) {
  auto ask = [names = std::move(keys)] {
    Texts answers;
    std::size_t bytes = 0;
    for (const std::string& name : names) {
      if (bytes > kAnswerMax) break;
      bytes += answers.emplace_back(look_up(name)).size();
    }
    return answers;
  };
  co_return co_await runtime::submit_to(owner, std::move(ask));
}

Task<void> mget(std::span<const std::string_view> keys, std::string& out) {
  std::vector<Texts> names(Core::current().cores());
  for (const std::string_view key : keys) names[owner_of(key)].emplace_back(key);
  std::vector<Task<Texts>> questions;
  questions.reserve(names.size());
  for (std::size_t core = 0; core < names.size(); ++core) {
    questions.push_back(look_up_on(static_cast<CoreId>(core), std::move(names[core])));
  }
  const std::vector<Texts> answers = co_await runtime::when_all(std::move(questions));
  std::size_t bytes = 0;
  for (const Texts& texts : answers) {
    for (const std::string& text : texts) bytes += text.size();
  }
  if (bytes > kAnswerMax) {
    out += "-ERR the answer is too large\r\n";
    co_return;
  }
  std::vector<std::size_t> taken(answers.size());
  fmt::format_to(std::back_inserter(out), "*{}\r\n", keys.size());
  for (const std::string_view key : keys) {
    const CoreId owner = owner_of(key);
    out += answers[owner][taken[owner]++];
  }
}

Task<void> set(std::string_view key, std::string_view value, std::string& out) {
  const CoreId owner = owner_of(key);
  if (owner == Core::current().id()) {
    const auto found = tables->find(key);
    if (found != tables->end()) {
      found->second = value;
    } else {
      tables->emplace(key, value);
    }
  } else {
    auto store = [name = std::string{key}, text = std::string{value}]() mutable {
      tables->insert_or_assign(std::move(name), std::move(text));
    };
    co_await runtime::submit_to(owner, std::move(store));
  }
  out += "+OK\r\n";
}

Task<void> answer(const Command& command, std::string& out) {
  const std::span words{command.words};
  const std::string_view name = words[0];
  if (name == "GET" && words.size() == 2) {
    co_await get(words[1], out);
  } else if (name == "SET" && words.size() == 3) {
    co_await set(words[1], words[2], out);
  } else if (name == "MGET" && words.size() > 1) {
    co_await mget(words.subspan(1), out);
  } else if (name == "PING") {
    out += "+PONG\r\n";
  } else {
    out += "-ERR unknown command\r\n";
  }
}

Task<void> talk(net::TcpStream stream) {
  std::string out;
  Command command;
  auto more = co_await stream.wait_for_more();
  while (more) {
    const std::span<const std::byte> bytes = stream.unread();
    std::string_view text{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    for (parse(text, command); command.used != 0; parse(text, command)) {
      co_await answer(command, out);
      text.remove_prefix(command.used);
      if (out.size() < kBatchMax) continue;
      const auto sent = co_await stream.write_all(out);
      if (!sent) co_return;
      out.clear();
    }
    if (command.is_malformed || text.size() > kCommandMax) co_return;
    stream.consume(bytes.size() - text.size());
    const auto sent = co_await stream.write_all(out);
    if (!sent) co_return;
    out.clear();
    more = co_await stream.wait_for_more();
  }
}

Task<void> serve_here(runtime::Address address) {
  auto listener = net::TcpListener::listen(address, {.reuse_port = Core::current().cores() > 1});
  if (!listener) {
    fmt::print(stderr, "cannot listen: {}\n", describe(listener.error()));
    co_return;
  }
  if (Core::current().id() == 0) fmt::print("listening on {}\n", listener->address()->text());
  std::fflush(stdout);
  co_await net::serve(*listener, "talk", talk);
}

Task<int> serve(runtime::Address address) {
  co_await tables.start();
  runtime::TaskGroup group("cores");
  for (CoreId core = 0; core < Core::current().cores(); ++core) {
    group.spawn(
        "core",
        [](CoreId on, runtime::Address where) -> Task<void> {
          co_await runtime::call_on(on, [where] { return serve_here(where); });
        },
        core, address);
  }
  co_await group.join();
  co_await tables.stop();
  co_return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const auto address = runtime::Address::parse(argc > 1 ? argv[1] : "127.0.0.1:6380");
  if (!address) return 2;
  runtime::RuntimeOptions options;
  const std::string_view cores = argc > 2 ? argv[2] : "1";
  std::from_chars(cores.data(), cores.data() + cores.size(), options.cores);
  runtime::Runtime runtime(options);
  return runtime.run([&] { return serve(*address); }).value_or(1);
}
