// A peer: tools/examples/worker_pool.cpp on Boost.Asio: a thread pool, a bounded queue in front of
// it, and a flag that cancels.
//
//   asio_worker_pool THREADS NUMBER SECONDS

#include <atomic>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/experimental/channel.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <string_view>

namespace {

namespace asio = boost::asio;
using namespace asio::experimental::awaitable_operators;
using asio::awaitable;
using asio::use_awaitable;
using boost::system::error_code;

constexpr std::uint64_t kNumbersPerJob = 10'000;
constexpr std::uint64_t kNumbersPerLook = 100;
constexpr std::size_t kQueuedMax = 16;

struct Job {
  std::uint64_t first = 0;
  std::uint64_t last = 0;  // not in it
};

bool is_prime(std::uint64_t number) {
  for (std::uint64_t divisor = 2; divisor * divisor <= number; ++divisor) {
    if (number % divisor == 0) return false;
  }
  return number >= 2;
}

struct Pool {
  Pool(asio::io_context& context, std::size_t count) : queue(context, kQueuedMax), threads(count) {}
  asio::experimental::channel<void(error_code, Job)> queue;
  asio::thread_pool threads;
  std::atomic<bool> is_cancelled{false};  // read by the threads
  std::uint64_t primes = 0;
  std::uint64_t jobs_done = 0;
};

// On a thread of the pool.
awaitable<std::uint64_t> count_primes(Pool& pool, Job job) {
  std::uint64_t primes = 0;
  for (std::uint64_t number = job.first; number < job.last; ++number) {
    if (is_prime(number)) ++primes;
    if (number % kNumbersPerLook == 0 && pool.is_cancelled.load(std::memory_order_relaxed)) {
      throw boost::system::system_error(asio::error::operation_aborted);
    }
  }
  co_return primes;
}

// On the main thread, as everything below.
awaitable<void> work(Pool& pool) {
  for (;;) {
    const Job job = co_await pool.queue.async_receive(use_awaitable);
    if (job.last == 0) co_return;
    // Without a slot: a cancel from this thread must not reach a coroutine of another one.
    pool.primes += co_await asio::co_spawn(
        pool.threads, count_primes(pool, job),
        asio::bind_cancellation_slot(asio::cancellation_slot(), use_awaitable));
    ++pool.jobs_done;
  }
}

awaitable<void> feed(Pool& pool, std::uint64_t below, std::size_t workers) {
  for (std::uint64_t first = 0; first < below; first += kNumbersPerJob) {
    const Job job{first, std::min(first + kNumbersPerJob, below)};
    co_await pool.queue.async_send(error_code{}, job, use_awaitable);
  }
  // close() of a channel of Boost 1.81 drops what is in it.
  for (std::size_t i = 0; i < workers; ++i) {
    co_await pool.queue.async_send(error_code{}, Job{}, use_awaitable);
  }
}

awaitable<void> run_workers(Pool& pool, std::size_t workers) {
  if (workers == 0) co_return;
  co_await (run_workers(pool, workers - 1) && work(pool));
}
awaitable<void> run_jobs(Pool& pool, std::uint64_t below, std::size_t workers) {
  co_await (feed(pool, below, workers) && run_workers(pool, workers));
}

// A job that runs hears of no cancellation slot: the flag tells it.
awaitable<void> give_up_after(Pool& pool, std::chrono::seconds time) {
  const auto executor = co_await asio::this_coro::executor;
  asio::steady_timer timer(executor, time);
  asio::signal_set signals(executor, SIGINT, SIGTERM);
  signals.async_wait([&timer](error_code code, int) {
    if (!code) timer.cancel();
  });
  error_code code;
  co_await timer.async_wait(asio::redirect_error(use_awaitable, code));
  pool.is_cancelled.store(true, std::memory_order_relaxed);
}

awaitable<void> run(Pool& pool, std::uint64_t below, std::size_t workers, std::chrono::seconds time,
                    int& exit_code) {
  const auto ended = co_await (run_jobs(pool, below, workers) || give_up_after(pool, time));
  exit_code = ended.index() == 0 ? 0 : 1;
  std::printf("%s: %llu jobs, %llu primes\n", exit_code == 0 ? "done" : "given up",
              static_cast<unsigned long long>(pool.jobs_done),
              static_cast<unsigned long long>(pool.primes));
}

std::uint64_t number_of(std::string_view text) {
  std::uint64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const auto workers = static_cast<std::size_t>(number_of(argv[1]));
  asio::io_context context(1);
  Pool pool(context, workers);
  int exit_code = 1;
  asio::co_spawn(
      context,
      run(pool, number_of(argv[2]), workers, std::chrono::seconds(number_of(argv[3])), exit_code),
      asio::detached);
  context.run();
  pool.threads.join();
  return exit_code;
}
