// Lines and backpressure: a line with a number is answered with that many lines. A client that does
// not read them holds up its own coroutine, and costs a bounded amount of memory.

#include <corelane/net.hpp>
#include <corelane/runtime.hpp>

#include <charconv>
#include <cstdio>
#include <string>

using namespace corelane;
using runtime::Task;

namespace {

constexpr std::size_t kLineBytesMax = 100;

Task<runtime::Result<void>> count_for(net::TcpStream& stream) {
  for (;;) {
    auto reading = stream.read_line(kLineBytesMax);
    RT_TRY(const auto line, co_await with_timeout(60 * runtime::kSecond, std::move(reading)));
    unsigned long last = 0;
    std::from_chars(line.data(), line.data() + line.size(), last);
    for (unsigned long i = 1; i <= last; ++i) {
      // Waits while the queue of this stream is full.
      RT_TRY_VOID(co_await stream.write_all(std::to_string(i) + "\n"));
      if (i % 1000 == 0) co_await runtime::Yield();  // lets the others run
    }
  }
}

Task<void> talk(net::TcpStream stream) {
  const auto ended = co_await count_for(stream);
  const runtime::Error error = ended.error();
  if (error.code == runtime::ErrorCode::limit_exceeded) {
    static_cast<void>(co_await stream.write_all("that line is too long\n"));
  }
}

Task<int> serve(const char* where) {
  const auto address = runtime::Address::parse(where);
  if (!address) co_return 2;
  auto listener = net::TcpListener::listen(*address);
  if (!listener) co_return 1;
  std::printf("listening on %s\n", listener->address()->text().c_str());
  std::fflush(stdout);
  co_await net::serve(*listener, "talk", talk);
  co_return 0;
}

}  // namespace

int main(int argc, char** argv) {
  runtime::Runtime cores({.cores = 1});
  const char* where = argc > 1 ? argv[1] : "127.0.0.1:7000";
  return cores.run([&] { return serve(where); }).value_or(1);
}
