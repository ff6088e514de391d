#include "perf/load/idle_load.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "net/network.hpp"
#include "perf/load/fanout_protocol.hpp"
#include "perf/load/message_ring.hpp"
#include "perf/load/opener.hpp"
#include "perf/load/quiet_stream.hpp"
#include "perf/load/wiring.hpp"
#include "protocol/message.hpp"
#include "runtime/await.hpp"
#include "runtime/host.hpp"

namespace corelane::perf {
namespace {

constexpr std::uint32_t kDescriptorsBeside = 64;
constexpr runtime::Nanoseconds kAnswerTimeout = 10 * runtime::kSecond;
constexpr runtime::Nanoseconds kLook = 20 * runtime::kMillisecond;

// What a holder process tells the one that started it: once when all are open, once at the end.
struct Told {
  std::uint32_t opened = 0;
  std::uint32_t closed_early = 0;
  runtime::Error error{};  // if fewer were opened than asked
};

// A pipe; the ends that nobody has taken are closed with it.
class Pipe {
 public:
  Pipe() = default;
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  ~Pipe() {
    for (const int end : ends_) {
      if (end >= 0) ::close(end);
    }
  }

  // False: errno says why.
  bool open() noexcept { return ::pipe(ends_.data()) == 0; }
  int take_reading() noexcept { return std::exchange(ends_[0], -1); }
  int take_writing() noexcept { return std::exchange(ends_[1], -1); }

 private:
  std::array<int, 2> ends_{-1, -1};
};

// Our ends of the two pipes of a holder. It reports through `told`; closing `hold` ends it.
struct Holder {
  pid_t pid = -1;
  int told = -1;
  int hold = -1;
};

// --- In a holder

class Holding {
 public:
  Holding(const Settings& settings, int told, int hold)
      : settings_(settings), told_(told), hold_(hold), protocol_(make_fanout_protocol(settings)) {
    events_.on_skipped = [this] { ++answers_; };
    events_.on_ended = [this](bool, const std::string&) { ++report_.closed_early; };
  }

  runtime::Task<runtime::Result<void>> run(net::Network& network) {
    const auto outcome = co_await open_all(network);
    if (!outcome) report_.error = outcome.error();
    tell();
    char nothing = 0;
    // The pipe is never written to: it ends.
    runtime::OperationAwaiter released([&](runtime::Ring& ring, runtime::Token token) {
      ring.read({.number = hold_, .direct = false}, std::as_writable_bytes(std::span{&nothing, 1}),
                0, token);
    });
    static_cast<void>(co_await released);
    tell();
    // Without shutting down: the end of the process closes them all, and far faster (15,000
    // cancelled receives one by one take 10 s).
    std::_Exit(0);
  }

 private:
  runtime::Task<runtime::Result<void>> open_all(net::Network& network) {
    std::vector<std::byte> words;
    if (settings_.protocol == Protocol::opcode) {
      protocol::append_frame(words, {}, protocol::WhoAmIBody{});
      if (settings_.target.scheme == Scheme::ws) words = client_frame(words);
    }
    Opener opener(network, settings_);
    for (std::uint32_t i = 0; i < settings_.connections; ++i) {
      QuietStream& stream = streams_.emplace_back(*protocol_, events_);
      const auto id = co_await opener.open(QuietStream::kHandler, &stream);
      if (!id) co_return runtime::Unexpected{id.error()};
      ++report_.opened;
      net::Stream* opened = network.find(*id);
      if (opened != nullptr && !words.empty()) opened->send_last(words);
    }
    const runtime::Nanoseconds deadline = network.core().now() + kAnswerTimeout;
    while (!words.empty() && answers_ < settings_.connections) {
      if (network.core().now() > deadline) co_return runtime::fail(runtime::ErrorCode::timed_out);
      co_await runtime::sleep_for(kLook);
    }
    co_return runtime::Result<void>{};
  }

  void tell() noexcept {
    // A pipe takes a report of this size at once, unless the parent process has ended.
    static_cast<void>(::write(told_, &report_, sizeof report_) == sizeof report_);
  }

  const Settings& settings_;
  int told_;
  int hold_;
  std::unique_ptr<FanoutProtocol> protocol_;
  QuietStream::Events events_;
  std::deque<QuietStream> streams_;  // streams point into it
  std::uint64_t answers_ = 0;
  Told report_;
};

[[noreturn]] void be_holder(const Settings& settings, int told, int hold) {
  net::NetworkOptions options;
  options.streams_max = settings.connections;
  options.direct_descriptors = false;
  Holding holding(settings, told, hold);
  const auto outcome = run_with_network(
      settings, options, [&](net::Network& network) { return holding.run(network); }, [] {});
  if (!outcome) {
    const Told failed{.error = outcome.error()};
    static_cast<void>(::write(told, &failed, sizeof failed) == sizeof failed);
  }
  std::_Exit(0);
}

// --- In the process that measures

runtime::Unexpected<runtime::Error> last_error() noexcept {
  return {runtime::Error::from_errno(errno)};
}

class Holders {
 public:
  Holders() = default;
  Holders(const Holders&) = delete;
  Holders& operator=(const Holders&) = delete;
  ~Holders() { release(); }

  runtime::Result<void> start(const Settings& settings) {
    Pipe told;
    Pipe hold;
    if (!told.open() || !hold.open()) return last_error();
    const pid_t pid = ::fork();
    if (pid < 0) return last_error();
    if (pid == 0) {
      ::close(told.take_reading());
      ::close(hold.take_writing());
      // Inherited pipes of other holders would stay open and count against the descriptor limit.
      for (const Holder& other : holders_) {
        ::close(other.told);
        ::close(other.hold);
      }
      be_holder(settings, told.take_writing(), hold.take_reading());
    }
    holders_.push_back({.pid = pid, .told = told.take_reading(), .hold = hold.take_writing()});
    return {};
  }

  // The next report of each holder; suspends the process until all have come.
  runtime::Result<Told> hear() {
    Told sum;
    for (const Holder& holder : holders_) {
      Told told;
      if (::read(holder.told, &told, sizeof told) != sizeof told) {
        return runtime::fail(runtime::ErrorCode::closed);
      }
      if (told.error != runtime::Error{}) return runtime::Unexpected{told.error};
      sum.opened += told.opened;
      sum.closed_early += told.closed_early;
    }
    return sum;
  }
  void let_go() noexcept {
    for (Holder& holder : holders_) {
      if (holder.hold >= 0) ::close(holder.hold);
      holder.hold = -1;
    }
  }

 private:
  void release() noexcept {
    let_go();
    for (const Holder& holder : holders_) {
      ::waitpid(holder.pid, nullptr, 0);
      ::close(holder.told);
    }
  }

  std::vector<Holder> holders_;
};

double seconds_between(std::chrono::steady_clock::time_point from,
                       std::chrono::steady_clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

}  // namespace

runtime::Result<IdleResult> run_idle(const Settings& settings, runtime::Nanoseconds hold) {
  const auto limit =
      runtime::raise_descriptor_limit(std::uint64_t{settings.connections} + kDescriptorsBeside);
  if (!limit) return runtime::Unexpected{limit.error()};
  if (*limit <= kDescriptorsBeside) {
    return runtime::fail(runtime::ErrorCode::limit_exceeded, static_cast<std::int32_t>(*limit));
  }
  const auto each_max = static_cast<std::uint32_t>(
      std::min<std::uint64_t>(*limit - kDescriptorsBeside, settings.connections));
  const std::uint32_t processes = (settings.connections + each_max - 1) / each_max;

  IdleResult result;
  const auto before = sample_memory(settings.server_pid);
  const auto used_before = sample_process(settings.server_pid);
  if (!before || !used_before) return runtime::Unexpected{runtime::Error::from_errno(ESRCH)};
  result.before = *before;
  result.kernel_before = kernel_waiting_bytes();
  // tidy: allow banned_call: no core runs in this process
  const auto started = std::chrono::steady_clock::now();
  Holders holders;
  std::uint32_t begun = 0;
  for (std::uint32_t i = 0; i < processes; ++i) {
    Settings part = settings;
    part.connections = (settings.connections - begun) / (processes - i);
    part.ramp_per_second = settings.ramp_per_second / processes;
    part.first_source = i;
    begun += part.connections;
    if (const auto one = holders.start(part); !one) return runtime::Unexpected{one.error()};
  }
  const auto opened = holders.hear();
  if (!opened) return runtime::Unexpected{opened.error()};
  // tidy: allow banned_call: as above
  result.open_seconds = seconds_between(started, std::chrono::steady_clock::now());
  result.opened = opened->opened;
  const auto used_after = sample_process(settings.server_pid);
  std::this_thread::sleep_for(std::chrono::nanoseconds(hold));  // tidy: allow banned_call: as above
  const auto held = sample_memory(settings.server_pid);
  if (!held || !used_after) return runtime::Unexpected{runtime::Error::from_errno(ESRCH)};
  result.held = *held;
  result.kernel_held = kernel_waiting_bytes();
  result.opening = *used_after - *used_before;
  holders.let_go();
  const auto ended = holders.hear();
  if (!ended) return runtime::Unexpected{ended.error()};
  result.closed_early = ended->closed_early;
  return result;
}

}  // namespace corelane::perf
