#include "perf/load/pacer.hpp"

#include "runtime/await.hpp"
#include "runtime/core.hpp"

namespace corelane::perf {
namespace {

// More than a timer and a wake-up take, on a virtual machine too.
constexpr runtime::Nanoseconds kPolled = 100 * runtime::kMicrosecond;
// Most offers in a turn, also when the pacer is behind its schedule; then completions come first.
constexpr int kOffersPerTurn = 256;

}  // namespace

runtime::Task<void> pace(LoadContext* context, Load* load, Pacer* pacer, Histogram* lag_ns) {
  runtime::Ring& ring = context->network.core().ring();
  while (!context->stopping) {
    const runtime::Nanoseconds now = ring.now();
    runtime::Nanoseconds due = 0;
    for (int i = 0; i < kOffersPerTurn && pacer->take(now, due); ++i) {
      if (context->meter.recording()) lag_ns->record(static_cast<std::uint64_t>(now - due));
      load->offer(due);
    }
    const runtime::Nanoseconds next = pacer->next_due();
    if (next - now > 2 * kPolled) {
      co_await runtime::sleep_until(next - kPolled);
    } else {
      co_await runtime::Yield();
    }
  }
}

}  // namespace corelane::perf
