// Goal: connecting ends within its limit, whatever does not answer: the name service, one address
// of several, the handshake; and an address that answers is found behind those that do not. Method:
// resolvers and attempts of the test, which answer when they are told to or never; and real sockets
// on loopback that accept nothing. Limits are short where they must pass and endless where not.

#include "tools/connecting.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <vector>

#include "net/connect_race.hpp"
#include "net/tcp.hpp"
#include "runtime/await.hpp"
#include "runtime/combine.hpp"
#include "tests/support/on_cores.hpp"
#include "tools/exit_code.hpp"

namespace corelane::tools {
namespace {

using net::Attempt;
using net::interleave_families;
using net::race;
using runtime::Address;
using runtime::Error;
using runtime::ErrorCode;
using runtime::Result;
using runtime::Task;

constexpr runtime::Nanoseconds kShort = 20 * runtime::kMillisecond;
constexpr runtime::Nanoseconds kEndless = 3600 * runtime::kSecond;

std::vector<Address> addresses_of(std::initializer_list<const char*> texts) {
  std::vector<Address> addresses;
  for (const char* text : texts) addresses.push_back(*Address::parse(text));
  return addresses;
}

std::vector<std::string> texts_of(const std::vector<Address>& addresses) {
  std::vector<std::string> texts;
  for (const Address& address : addresses) texts.push_back(address.text());
  return texts;
}

// --- Order

TEST(Interleaving, alternates_families_in_the_order_of_the_resolver) {
  using Texts = std::vector<std::string>;
  EXPECT_EQ(texts_of(interleave_families(addresses_of(
                {"[2001:db8::1]:9", "[2001:db8::2]:9", "[2001:db8::3]:9", "10.0.0.1:9"}))),
            (Texts{"[2001:db8::1]:9", "10.0.0.1:9", "[2001:db8::2]:9", "[2001:db8::3]:9"}));
  EXPECT_EQ(
      texts_of(interleave_families(addresses_of({"10.0.0.1:9", "10.0.0.2:9", "[2001:db8::1]:9"}))),
      (Texts{"10.0.0.1:9", "[2001:db8::1]:9", "10.0.0.2:9"}));
  EXPECT_EQ(texts_of(interleave_families(addresses_of({"10.0.0.1:9", "10.0.0.1:9"}))),
            (Texts{"10.0.0.1:9"}));
  EXPECT_TRUE(interleave_families({}).empty());
}

// --- The race

// Attempts by the port of their address.
enum Behaviour : std::uint16_t { kSilent = 1, kRefuses = 2, kAnswers = 3, kIsNoServer = 4 };

struct Attempts {
  std::vector<std::uint16_t> begun;
  int cancelled = 0;

  Task<Result<void>> attempt(Address address) {
    begun.push_back(address.port());
    switch (address.port()) {
      case kRefuses:
        co_return runtime::Unexpected{Error::from_errno(ECONNREFUSED)};
      case kIsNoServer:
        co_return runtime::fail(ErrorCode::closed, 404);
      case kAnswers:
        co_await runtime::Yield{};
        co_return Result<void>{};
      default: {
        const bool has_slept = co_await runtime::sleep_for(kEndless);
        if (!has_slept) ++cancelled;
        co_return runtime::fail(ErrorCode::cancelled);
      }
    }
  }
  Attempt function() {
    return [this](Address address) { return attempt(address); };
  }
};

struct RaceRow {
  std::vector<Address> addresses;
  runtime::Nanoseconds delay;
  std::vector<std::uint16_t> begun;
  int cancelled;
  std::optional<Error> error;
};

TEST(Race, ends_with_the_first_address_that_answers) {
  const Error refused = Error::from_errno(ECONNREFUSED);
  const RaceRow rows[] = {
      {addresses_of({"10.0.0.1:3"}), kEndless, {3}, 0, {}},
      // A silent address holds up the next one for the delay only, and loses.
      {addresses_of({"10.0.0.1:1", "10.0.0.2:3"}), kShort, {1, 3}, 1, {}},
      {addresses_of({"10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:3"}), kShort, {1, 1, 3}, 2, {}},
      // One that fails does not hold it up at all, beside a silent one neither.
      {addresses_of({"10.0.0.1:2", "10.0.0.2:2", "10.0.0.3:3"}), kEndless, {2, 2, 3}, 0, {}},
      {addresses_of({"10.0.0.1:1", "10.0.0.2:2", "10.0.0.3:3"}), kShort, {1, 2, 3}, 1, {}},
      // The others are not begun.
      {addresses_of({"10.0.0.1:3", "10.0.0.2:2"}), kEndless, {3}, 0, {}},
      {addresses_of({"10.0.0.1:2", "10.0.0.2:2"}), kEndless, {2, 2}, 0, refused},
      {addresses_of({"10.0.0.1:4", "10.0.0.2:2"}),
       kEndless,
       {4, 2},
       0,
       Error{ErrorCode::closed, 404}},
  };
  for (const RaceRow& row : rows) {
    tests::run_on_cores(1, [&row]() -> Task<void> {
      Attempts attempts;
      const auto result = co_await race(row.addresses, attempts.function(), row.delay);
      EXPECT_EQ(result.has_value(), !row.error);
      if (!result && row.error) {
        EXPECT_EQ(result.error(), *row.error);
      }
      EXPECT_EQ(attempts.begun, row.begun);
      EXPECT_EQ(attempts.cancelled, row.cancelled);
    });
  }
}

TEST(Race, of_silent_addresses_ends_when_it_is_cancelled) {
  for (const auto delay : {runtime::Nanoseconds{1}, kEndless}) {
    tests::run_on_cores(1, [delay]() -> Task<void> {
      Attempts attempts;
      const auto addresses = addresses_of({"10.0.0.1:1", "10.0.0.2:1"});
      const auto result =
          co_await runtime::with_timeout(kShort, race(addresses, attempts.function(), delay));
      EXPECT_FALSE(result);
      EXPECT_EQ(result.error().code, ErrorCode::timed_out);
      EXPECT_EQ(attempts.cancelled, static_cast<int>(attempts.begun.size()));
    });
  }
}

// --- Names

// A name service that is asked and does not answer until the test lets it.
class SilentService {
 public:
  Resolver resolver() {
    return [this](const std::string&) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return released_; });
      gone_ = true;
      changed_.notify_all();
      return NameAnswer{};
    };
  }
  void release() {
    std::unique_lock lock(mutex_);
    released_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return gone_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool released_ = false;
  bool gone_ = false;
};

ServerUrl url_of(std::string_view text) {
  ParsedUrl parsed = parse_server_url(text);
  EXPECT_TRUE(parsed.url) << parsed.problem;
  return std::move(*parsed.url);
}

struct Outcome {
  std::optional<NotConnected> failure;
};

Outcome connect_within(runtime::Nanoseconds limit, const ServerUrl& url, const Resolver& resolver) {
  Outcome outcome;
  runtime::RuntimeOptions options = tests::small_options(1);
  options.ring.completion_entries = 256;
  tests::run_on_cores(options, [&]() -> Task<void> {
    Client client;
    ConnectProgress progress;
    const auto result =
        co_await runtime::with_timeout(limit, connect(client, url, resolver, progress));
    if (!result) outcome.failure = explain(url, progress, result.error());
    co_await client.close();
  });
  return outcome;
}

TEST(Connecting, ends_in_time_although_the_name_service_does_not_answer) {
  SilentService service;
  const Outcome outcome =
      connect_within(kShort, url_of("ws://quiet.example:9/"), service.resolver());
  ASSERT_TRUE(outcome.failure);
  EXPECT_EQ(outcome.failure->exit_code, kExitTimeout);
  EXPECT_NE(outcome.failure->text.find("name service"), std::string::npos);
  EXPECT_NE(outcome.failure->text.find("quiet.example"), std::string::npos);
  EXPECT_TRUE(look_up_abandoned());
  service.release();
}

TEST(Connecting, to_a_name_that_is_not_known_is_told_apart_from_a_service_that_is_not_there) {
  const std::pair<int, std::string_view> rows[] = {{EAI_NONAME, "not known"},
                                                   {EAI_NODATA, "not known"},
                                                   {0, "not known"},
                                                   {EAI_AGAIN, "resolv.conf"},
                                                   {EAI_FAIL, "no address"}};
  for (const auto& [code, text] : rows) {
    const Outcome outcome = connect_within(
        kEndless, url_of("ws://nobody.example:9/"), [error = code](const std::string& name) {
          EXPECT_EQ(name, "nobody.example");
          return NameAnswer{.addresses = {}, .error = error, .system_error = 0};
        });
    ASSERT_TRUE(outcome.failure);
    EXPECT_EQ(outcome.failure->exit_code, kExitNotConnected);
    EXPECT_NE(outcome.failure->text.find(text), std::string::npos) << outcome.failure->text;
  }
}

// A socket whose backlog is full: what connects to it is not answered any more.
class BlackHole {
 public:
  BlackHole() : address_(*Address::parse("127.0.0.1:0")) {
    listening_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(::bind(listening_, address_.raw(), address_.raw_bytes()), 0);
    EXPECT_EQ(::listen(listening_, 0), 0);
    socklen_t bytes = Address::kRawBytesMax;
    EXPECT_EQ(::getsockname(listening_, address_.raw(), &bytes), 0);
    address_.set_raw_bytes(bytes);
    for (int& filler : fillers_) {
      filler = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
      static_cast<void>(::connect(filler, address_.raw(), address_.raw_bytes()));
    }
  }
  BlackHole(const BlackHole&) = delete;
  BlackHole& operator=(const BlackHole&) = delete;
  ~BlackHole() {
    for (const int filler : fillers_) ::close(filler);
    ::close(listening_);
  }
  const Address& address() const { return address_; }

 private:
  Address address_;
  int listening_ = -1;
  std::array<int, 8> fillers_{};
};

TEST(Connecting, to_an_address_that_does_not_answer_ends_in_time) {
  const BlackHole hole;
  for (const char* scheme : {"ws", "tcp"}) {
    const Outcome outcome = connect_within(
        kShort, url_of(fmt::format("{}://{}", scheme, hole.address().text())), ask_name_service);
    ASSERT_TRUE(outcome.failure);
    EXPECT_EQ(outcome.failure->exit_code, kExitTimeout) << outcome.failure->text;
  }
}

// On one port, as the addresses of a name are: 127.0.0.1 does not answer, [::1] listens.
TEST(Connecting, finds_the_address_that_answers_behind_one_that_does_not) {
  const BlackHole hole;
  const int listening = ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  Address address = *Address::parse("[::1]:0");
  address.set_port(hole.address().port());
  if (::bind(listening, address.raw(), address.raw_bytes()) != 0 || ::listen(listening, 4) != 0) {
    ::close(listening);
    GTEST_SKIP() << "no [::1] with the port of the other socket";
  }
  const Outcome outcome = connect_within(
      kEndless, url_of(fmt::format("tcp://two.example:{}", address.port())),
      [&](const std::string&) {
        return NameAnswer{.addresses = {hole.address(), address}, .error = 0, .system_error = 0};
      });
  EXPECT_FALSE(outcome.failure) << outcome.failure->text;
  ::close(listening);
}

// --- Several on one core

// Each had a network of its own, and a second one on a core ended the process.
TEST(Client, shares_the_network_of_its_core_with_others) {
  tests::run_on_cores(1, []() -> Task<void> {
    auto listener = net::TcpListener::listen(*Address::parse("127.0.0.1:0"));
    const Address address = *listener->address();
    const ServerUrl url = url_of(fmt::format("tcp://{}", address.text()));
    Client one;
    Client other;
    for (Client* client : {&one, &other}) {
      EXPECT_TRUE(co_await client->connect(url, std::vector<Address>(1, address)));
    }
    co_await one.close(kShort);
    // The end of one is not the end of the others.
    EXPECT_TRUE(other.is_open());
    auto stream = co_await net::TcpStream::connect(address);
    EXPECT_TRUE(stream);
    co_await other.close(kShort);
    EXPECT_EQ(net::Network::local().counters().refused, 0u);
  });
}

}  // namespace
}  // namespace corelane::tools
