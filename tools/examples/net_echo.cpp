// Sockets without the framework (corelane-net): a TCP server that sends back what comes, without a
// copy, until SIGTERM or SIGINT.
//
//   build/release/tools/examples/net_echo 127.0.0.1:9000

#include <corelane/net.hpp>
#include <corelane/runtime.hpp>

#include <csignal>
#include <cstdio>

namespace net = corelane::net;
namespace runtime = corelane::runtime;

namespace {

void on_data(net::Stream& stream, const net::Received& received) noexcept {
  if (!stream.send_in_place(received, received.bytes)) stream.abort();
  if (!stream.writable()) stream.pause_receiving();
}
void on_end(net::Stream& stream) noexcept {
  stream.close(0);
}
void on_closed(net::Stream&, runtime::Error) noexcept {}
void on_timer(net::Stream&) noexcept {}
void on_writable(net::Stream& stream) noexcept {
  stream.resume_receiving();
}
constexpr net::StreamHandler kEcho{.name = "echo",
                                   .on_data = on_data,
                                   .on_end = on_end,
                                   .on_closed = on_closed,
                                   .on_timer = on_timer,
                                   .on_writable = on_writable};

bool accept(void*, net::Stream& stream) noexcept {
  stream.set_handler(kEcho, nullptr);
  return true;
}

runtime::Task<int> serve(runtime::Address address, const runtime::BlockedSignals& blocked) {
  net::Network network({.queued_bytes_max = 256 * 1024});
  const auto listener = network.listen(address, {}, accept, nullptr);
  if (!listener) {
    std::fprintf(stderr, "cannot listen: %s\n", runtime::describe(listener.error()).c_str());
    co_return 1;
  }
  std::printf("listening on %s (1 core)\n", network.address_of(*listener)->text().c_str());
  std::fflush(stdout);
  {
    runtime::SignalStream signals(blocked);
    static_cast<void>(co_await signals.next());
  }
  co_await network.stop_listening();
  co_await network.shutdown();
  co_return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const auto address = runtime::Address::parse(argc == 2 ? argv[1] : "");
  if (!address) {
    std::fprintf(stderr, "use: %s ADDRESS:PORT\n", argv[0]);
    return 2;
  }
  const runtime::BlockedSignals blocked({SIGTERM, SIGINT});
  runtime::Runtime cores({.cores = 1});
  const auto code = cores.run([&] { return serve(*address, blocked); });
  if (!code) std::fprintf(stderr, "%s\n", runtime::describe(code.error()).c_str());
  return code ? *code : 1;
}
