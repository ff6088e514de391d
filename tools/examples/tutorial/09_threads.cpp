// What blocks runs on other threads: blocking() calls a function there, post() brings news from
// one.

#include <corelane/runtime.hpp>

#include <chrono>
#include <cstdio>
#include <string>
#include <thread>

using namespace corelane;
using namespace std::chrono_literals;
using runtime::Result;
using runtime::Task;

namespace {

// A function of some library that takes its time.
std::string read_slowly(const std::string& name) {
  std::this_thread::sleep_for(50ms);
  return "contents of " + name;
}

Task<int> run(runtime::Event* told) {
  std::string name = "database";
  auto function = [name] { return read_slowly(name); };  // owns what it uses
  const std::string text = co_await runtime::blocking(function);
  std::printf("%s\n", text.c_str());

  // The thread cannot be interrupted, but nobody has to wait for it.
  const Result<std::string> late = co_await with_timeout(5ms, runtime::blocking(function));
  std::printf("%s\n", late ? late->c_str() : describe(late.error()).c_str());

  const auto waited = co_await told->wait();
  std::printf("the other thread has called\n");
  co_return waited ? 0 : 1;
}

}  // namespace

int main() {
  runtime::Event told;
  runtime::Runtime cores({.cores = 1});
  std::thread watcher([&] { runtime::post(cores, 0, [&] { told.set(); }); });
  const int code = cores.run([&] { return run(&told); }).value_or(1);
  watcher.join();
  return code;
}
