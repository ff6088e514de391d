// A peer: tools/examples/resp_server.cpp on Boost.Asio's coroutines: an io_context for each thread,
// the keys sharded over them. Compiled twice: on epoll, and on io_uring
// (BOOST_ASIO_HAS_IO_URING, BOOST_ASIO_DISABLE_EPOLL).
//
//   asio_resp_server ADDRESS:PORT [THREADS]

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/deferred.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <charconv>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "perf/peers/asio_listen.hpp"

namespace {

namespace asio = boost::asio;
using asio::awaitable;
using asio::use_awaitable;
using asio::ip::tcp;

constexpr std::size_t kCommandMax = 1024 * 1024;
constexpr long kWordsMax = 1024;
constexpr std::size_t kReadBytes = 64 * 1024;
constexpr std::string_view kEnd = "\r\n";

struct Hash {
  using is_transparent = void;
  std::size_t operator()(std::string_view key) const noexcept {
    return std::hash<std::string_view>{}(key);
  }
};
using Table = std::unordered_map<std::string, std::string, Hash, std::equal_to<>>;
struct Shard {
  asio::io_context context{1};
  Table table;
};
std::vector<std::unique_ptr<Shard>> shards;

// --- *2\r\n$3\r\nGET\r\n$3\r\nkey\r\n

struct Command {
  std::vector<std::string_view> words{};
  std::size_t used = 0;  // 0: it is not whole yet
  bool is_malformed = false;
};

// The number behind `mark`, and what stands behind its line in `text`; -1: not whole or malformed.
long take_number(std::string_view& text, char mark, bool& is_malformed) {
  const std::size_t end = text.substr(0, 16).find(kEnd);
  long number = -1;
  if (!text.empty() && text[0] != mark) is_malformed = true;
  if (end == std::string_view::npos) {
    is_malformed = is_malformed || text.size() >= 16;
    return -1;
  }
  const auto parsed = std::from_chars(text.data() + 1, text.data() + end, number);
  if (parsed.ptr != text.data() + end || number < 0) is_malformed = true;
  text.remove_prefix(end + kEnd.size());
  return number;
}

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
    out += "$" + std::to_string(value->size()) + "\r\n" + *value + "\r\n";
  }
}

std::size_t owner_of(std::string_view key) {
  return Hash{}(key) % shards.size();
}

void look_up(const Table& table, std::string_view key, std::string& out) {
  const auto found = table.find(key);
  append_value(out, found != table.end() ? &found->second : nullptr);
}

template <class Function>
awaitable<std::invoke_result_t<Function&, Table&>> run_on(std::size_t owner, Function function) {
  co_return function(shards[owner]->table);
}
// Runs a function on another shard's thread; the result comes back to the caller's.
template <class Function>
auto ask(std::size_t owner, Function function) {
  return asio::co_spawn(shards[owner]->context, run_on(owner, std::move(function)),
                        asio::experimental::deferred);
}

awaitable<void> get(std::size_t here, std::string_view key, std::string& out) {
  const std::size_t owner = owner_of(key);
  if (owner == here) {
    look_up(shards[here]->table, key, out);
    co_return;
  }
  auto answer = [name = std::string(key)](Table& table) {
    std::string text;
    look_up(table, name, text);
    return text;
  };
  out += co_await ask(owner, std::move(answer))(use_awaitable);
}

using Texts = std::vector<std::string>;

awaitable<void> mget(std::span<const std::string_view> keys, std::string& out) {
  std::vector<Texts> names(shards.size());
  for (const std::string_view key : keys) names[owner_of(key)].emplace_back(key);
  auto look_up_on = [&names](std::size_t owner) {
    return ask(owner, [keys_there = std::move(names[owner])](Table& table) {
      Texts answers(keys_there.size());
      for (std::size_t i = 0; i < answers.size(); ++i) look_up(table, keys_there[i], answers[i]);
      return answers;
    });
  };
  std::vector<decltype(look_up_on(0))> questions;
  questions.reserve(shards.size());
  for (std::size_t shard = 0; shard < shards.size(); ++shard)
    questions.push_back(look_up_on(shard));
  const auto [order, thrown, answers] =
      co_await asio::experimental::make_parallel_group(std::move(questions))
          .async_wait(asio::experimental::wait_for_all(), use_awaitable);
  std::vector<std::size_t> taken(answers.size());
  out += "*" + std::to_string(keys.size()) + "\r\n";
  for (const std::string_view key : keys) {
    const std::size_t owner = owner_of(key);
    out += answers[owner][taken[owner]++];
  }
}

awaitable<void> set(std::size_t here, std::string_view key, std::string_view value,
                    std::string& out) {
  const std::size_t owner = owner_of(key);
  if (owner == here) {
    Table& table = shards[here]->table;
    const auto found = table.find(key);
    if (found != table.end()) {
      found->second = value;
    } else {
      table.emplace(key, value);
    }
  } else {
    auto store = [name = std::string(key), text = std::string(value)](Table& table) mutable {
      table.insert_or_assign(std::move(name), std::move(text));
      return true;
    };
    co_await ask(owner, std::move(store))(use_awaitable);
  }
  out += "+OK\r\n";
}

awaitable<void> answer(std::size_t here, const Command& command, std::string& out) {
  const std::span words{command.words};
  const std::string_view name = words[0];
  if (name == "GET" && words.size() == 2) {
    co_await get(here, words[1], out);
  } else if (name == "SET" && words.size() == 3) {
    co_await set(here, words[1], words[2], out);
  } else if (name == "MGET" && words.size() > 1) {
    co_await mget(words.subspan(1), out);
  } else if (name == "PING") {
    out += "+PONG\r\n";
  } else {
    out += "-ERR unknown command\r\n";
  }
}

awaitable<void> talk(tcp::socket socket, std::size_t here) {
  try {
    std::vector<char> in(kReadBytes);  // bytes of a command that is not whole yet stay in front
    std::size_t held = 0;
    std::string out;
    Command command;
    for (;;) {
      if (held == in.size()) in.resize(2 * held);
      held += co_await socket.async_read_some(asio::buffer(in.data() + held, in.size() - held),
                                              use_awaitable);
      std::string_view text{in.data(), held};
      for (parse(text, command); command.used != 0; parse(text, command)) {
        co_await answer(here, command, out);
        text.remove_prefix(command.used);
      }
      if (command.is_malformed || text.size() > kCommandMax) co_return;
      std::memmove(in.data(), text.data(), text.size());
      held = text.size();
      co_await asio::async_write(socket, asio::buffer(out), use_awaitable);
      out.clear();
    }
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): its connection ends
  }
}

awaitable<void> serve(tcp::acceptor acceptor, std::size_t here) {
  for (;;) {
    tcp::socket socket = co_await acceptor.async_accept(use_awaitable);
    socket.set_option(tcp::no_delay(true));
    asio::co_spawn(acceptor.get_executor(), talk(std::move(socket), here), asio::detached);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string where = argc > 1 ? argv[1] : "127.0.0.1:6380";
  const std::string_view threads = argc > 2 ? argv[2] : "1";
  std::size_t count = 1;
  std::from_chars(threads.data(), threads.data() + threads.size(), count);
  for (std::size_t i = 0; i < count; ++i) shards.push_back(std::make_unique<Shard>());
  // tidy: allow banned_call: a program on another library
  std::vector<std::thread> others;
  for (std::size_t i = 0; i < count; ++i) {
    asio::io_context& context = shards[i]->context;
    asio::co_spawn(context, serve(listen_at(context, where, count > 1, i != 0), i), asio::detached);
    if (i != 0) others.emplace_back([&context] { context.run(); });
  }
  shards[0]->context.run();
  for (auto& thread : others) thread.join();
}
