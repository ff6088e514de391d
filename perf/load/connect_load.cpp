#include "perf/load/connect_load.hpp"

#include <fmt/format.h>

#include "runtime/core.hpp"

namespace corelane::perf {
namespace {

constexpr runtime::Nanoseconds kLinger = 5 * runtime::kSecond;

// Waits in the frame of its churn until the stream is gone.
struct Connection {
  bool gone = false;
  runtime::WaitQueue waiting{};

  static void on_data(net::Stream&, const net::Received&) noexcept {}
  static void on_end(net::Stream& stream) noexcept { stream.close(0); }
  static void on_closed(net::Stream& stream, runtime::Error) noexcept {
    auto& self = *static_cast<Connection*>(stream.owner());
    self.gone = true;
    self.waiting.wake_all(runtime::WaitQueue::Outcome::granted);
  }
  static void on_timer(net::Stream&) noexcept {}
  static constexpr net::StreamHandler kHandler{"churn",   on_data,  on_end,
                                               on_closed, on_timer, nullptr};
};

}  // namespace

runtime::Task<runtime::Result<void>> ConnectLoad::open() {
  co_return runtime::Result<void>{};
}

runtime::Task<void> ConnectLoad::churn(ConnectLoad* load) {
  LoadContext& context = load->context_;
  runtime::Ring& ring = context.network.core().ring();
  while (!context.stopping && context.faults.none()) {
    Connection connection;
    ++load->begun_;
    const runtime::Nanoseconds began = ring.now();
    const auto id = co_await context.opener.open(Connection::kHandler, &connection);
    if (!id) {
      ++load->ended_;
      if (!context.stopping) {
        context.faults.note_closed("a connection did not open: " + describe(id.error()));
      }
      co_return;
    }
    context.meter.record(ring.now() - began);
    if (net::Stream* stream = context.network.find(*id)) stream->close(kLinger);
    while (!connection.gone) {
      // Not cancelled: the stream refers to this frame.
      runtime::WaitQueue::Waiter waiter{connection.waiting, runtime::WaitQueue::OnCancel::ignore};
      co_await waiter;
    }
    ++load->ended_;
  }
}

runtime::Task<void> ConnectLoad::background() {
  runtime::TaskGroup group("churn");
  for (std::uint32_t i = 0; i < context_.settings.connections; ++i) {
    group.spawn("churn", churn, this);
  }
  co_await group.join();
}

std::string ConnectLoad::describe_lost() const {
  return fmt::format("{} connections were neither opened nor closed", outstanding());
}

}  // namespace corelane::perf
