// A pool of workers, one on each core: counts the prime numbers below a number, in jobs that wait
// in a bounded queue. SIGINT, or the deadline, cancels the jobs on all cores.
//
//   build/release/tools/examples/worker_pool 4 10000000 60      (cores, number, seconds)

#include <fmt/core.h>

#include <charconv>
#include <csignal>
#include <string_view>
#include <vector>

#include <corelane/runtime.hpp>

using namespace corelane;
using runtime::Core;
using runtime::CoreId;
using runtime::ErrorCode;
using runtime::Result;
using runtime::Task;

namespace {

constexpr std::uint64_t kNumbersPerJob = 10'000;
constexpr std::uint64_t kNumbersPerTurn = 100;  // about 10 us
constexpr std::size_t kQueuedMax = 16;

struct Job {
  std::uint64_t first;
  std::uint64_t last;  // not in it
};

bool is_prime(std::uint64_t number) {
  for (std::uint64_t divisor = 2; divisor * divisor <= number; ++divisor) {
    if (number % divisor == 0) return false;
  }
  return number >= 2;
}

// On a worker's core; gives it back between pieces, and ends when the other core cancels it.
Task<Result<std::uint64_t>> count_primes(Job job) {
  std::uint64_t primes = 0;
  for (std::uint64_t number = job.first; number < job.last; ++number) {
    if (is_prime(number)) ++primes;
    if (number % kNumbersPerTurn != 0) continue;
    co_await runtime::Yield();
    const bool is_cancelled = co_await runtime::this_task::cancelled();
    if (is_cancelled) co_return ErrorCode::cancelled;
  }
  co_return primes;
}

// On core 0, as everything below.
struct Pool {
  runtime::Channel<Job> queue{kQueuedMax};
  std::uint64_t primes = 0;
  std::uint64_t jobs_done = 0;
};

Task<void> work(Pool* pool, CoreId core) {
  for (;;) {
    const auto job = co_await pool->queue.receive();
    if (!job) co_return;  // closed and empty, or cancelled
    const auto primes =
        co_await runtime::submit_to(core, [job = *job] { return count_primes(job); });
    if (!primes) co_return;
    pool->primes += *primes;
    ++pool->jobs_done;
  }
}

Task<Result<void>> feed(Pool& pool, std::uint64_t below) {
  for (std::uint64_t first = 0; first < below; first += kNumbersPerJob) {
    const Job job{first, std::min(first + kNumbersPerJob, below)};
    RT_TRY_VOID(co_await pool.queue.send(job));  // waits while the queue is full
  }
  pool.queue.close();
  co_return Result<void>{};
}

// The group is of this scope: what cancels feed() cancels the workers, too.
Task<Result<void>> run_jobs(Pool& pool, std::uint64_t below) {
  runtime::TaskGroup group = co_await runtime::TaskGroup::here("pool");
  for (CoreId core = 0; core < Core::current().cores(); ++core) {
    group.spawn("worker", work, &pool, core);
  }
  const auto fed = co_await feed(pool, below);
  co_await group.join();
  if (group.cancelled()) co_return ErrorCode::cancelled;
  co_return fed;
}

Task<int> run(std::uint64_t below, runtime::Nanoseconds time_max,
              const runtime::BlockedSignals& blocked) {
  Pool pool;
  runtime::SignalStream signals(blocked);
  const auto ended =
      co_await runtime::when_any(with_timeout(time_max, run_jobs(pool, below)), signals.next());
  const bool is_done = std::get<0>(ended.values)->has_value();
  fmt::print("{}: {} jobs, {} primes\n", is_done ? "done" : "given up", pool.jobs_done,
             pool.primes);
  co_return is_done ? 0 : 1;
}

std::uint64_t number_of(std::string_view text) {
  std::uint64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const std::uint64_t count = number_of(argv[1]);
  if (count == 0 || count > runtime::kCoresMax) return 2;
  const auto below = number_of(argv[2]);
  const auto seconds = static_cast<runtime::Nanoseconds>(number_of(argv[3]));
  const runtime::BlockedSignals blocked({SIGINT, SIGTERM});
  runtime::Runtime cores({.cores = static_cast<CoreId>(count)});
  return cores.run([&] { return run(below, seconds * runtime::kSecond, blocked); }).value_or(1);
}
