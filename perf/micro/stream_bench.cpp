// Echoes over plain TCP without a kernel: by callbacks on Stream, and by coroutines on TcpStream.
// An operation is one message; kStreams of them arrive in each turn, one on each stream.

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "net/network.hpp"
#include "net/stream.hpp"
#include "net/tcp.hpp"
#include "perf/micro/null_core.hpp"
#include "perf/micro/workload.hpp"
#include "runtime/task_group.hpp"

namespace corelane::perf {
namespace {

using runtime::Task;

constexpr std::size_t kStreams = 16;  // fewer than the receive buffers that a core begins with

class Echo : public Workload {
 public:
  explicit Echo(std::size_t bytes) : message_(bytes) {}
  std::uint64_t run(std::uint64_t operations) override {
    const std::uint64_t before = core_.peer().bytes_sent();
    for (std::uint64_t i = 0; i < operations; i += kStreams) {
      for (const int socket : sockets_) core_.peer().deliver(socket, message_);
      settle();
    }
    return core_.peer().bytes_sent() - before;
  }

 protected:
  void settle() {
    do {
      core_.turn();
    } while (core_.core().ring().has_work());
  }
  void connect() {
    settle();
    for (int& socket : sockets_) {
      socket = core_.peer().connect();
      settle();
    }
  }
  static runtime::Address anywhere() { return *runtime::Address::parse("127.0.0.1:0"); }

  NullCore core_;

 private:
  std::vector<std::byte> message_;
  std::array<int, kStreams> sockets_{};
};

// --- By callbacks

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

class ByCallbacks final : public Echo {
 public:
  explicit ByCallbacks(std::size_t bytes) : Echo(bytes) {
    network_.emplace(net::NetworkOptions{});
    RT_ASSERT(network_->listen(anywhere(), {}, accept, nullptr).has_value());
    connect();
  }
  ~ByCallbacks() override {
    core_.run_last([this] { return network_->shutdown(); });
    network_.reset();
  }

 private:
  std::optional<net::Network> network_;
};

// --- By coroutines

// The bytes where they lie.
Task<void> echo_lease(net::TcpStream stream) {
  for (;;) {
    auto bytes = co_await stream.read_some();
    if (!bytes) co_return;
    const auto sent = co_await stream.write_all(std::move(*bytes));
    if (!sent) co_return;
  }
}

// As parsers do: looks at them, and sends what it has made of them.
Task<void> echo_unread(net::TcpStream stream) {
  for (;;) {
    const auto more = co_await stream.wait_for_more();
    if (!more) co_return;
    const std::span<const std::byte> bytes = stream.unread();
    const auto sent = co_await stream.write_all(bytes);
    if (!sent) co_return;
    stream.consume(bytes.size());
  }
}

// Into memory of the coroutine's own.
Task<void> echo_copy(net::TcpStream stream) {
  std::array<std::byte, 2048> buffer;
  for (;;) {
    const auto bytes = co_await stream.read_some(buffer);
    if (!bytes) co_return;
    const auto sent = co_await stream.write_all(std::span{buffer}.first(*bytes));
    if (!sent) co_return;
  }
}

using Handler = Task<void> (*)(net::TcpStream);

class ByCoroutines final : public Echo {
 public:
  ByCoroutines(std::size_t bytes, Handler handler) : Echo(bytes) {
    listener_.emplace(*net::TcpListener::listen(anywhere()));
    group_.spawn("serve", serve, &*listener_, handler);
    connect();
  }
  ~ByCoroutines() override {
    core_.run_last([this] { return end(); });
  }

 private:
  static Task<void> serve(net::TcpListener* listener, Handler handler) {
    static_cast<void>(co_await net::serve(*listener, "echo", handler));
  }
  Task<void> end() {
    group_.cancel();
    co_await group_.join();
    co_await listener_->close();
    listener_.reset();
  }

  std::optional<net::TcpListener> listener_;
  runtime::TaskGroup group_{"echo"};
};

}  // namespace

void add_stream_cases(Cases& cases) {
  for (const std::size_t bytes : {std::size_t{125}, std::size_t{1024}}) {
    const std::string parameter = "/bytes:" + std::to_string(bytes);
    const auto options = [&](const char* how) {
      return CaseOptions{.name = std::string("stream/echo/") + how + parameter, .counted = 1600};
    };
    cases.add<ByCallbacks>(options("callbacks"), bytes);
    cases.add<ByCoroutines>(options("coroutine:lease"), bytes, echo_lease);
    cases.add<ByCoroutines>(options("coroutine:unread"), bytes, echo_unread);
    cases.add<ByCoroutines>(options("coroutine:copy"), bytes, echo_copy);
  }
}

}  // namespace corelane::perf
