#include "perf/load/quiet_stream.hpp"

#include <string_view>

namespace corelane::perf {

const net::StreamHandler QuietStream::kHandler{"quiet",   on_data,  on_end,
                                               on_closed, on_timer, nullptr};

void QuietStream::take(net::Stream& stream, std::span<const std::byte> bytes) {
  kept_.insert(kept_.end(), bytes.begin(), bytes.end());
  std::size_t parsed = 0;
  for (;;) {
    const Unit unit = protocol_.parse(std::span{kept_}.subspan(parsed), state_);
    if (unit.kind == Unit::Kind::need_more) break;
    parsed += unit.consumed;
    if (!handle(stream, unit)) return;
  }
  kept_.erase(kept_.begin(), kept_.begin() + static_cast<std::ptrdiff_t>(parsed));
  // An idle connection holds nothing.
  if (kept_.empty()) std::vector<std::byte>().swap(kept_);
}

// False: the stream is ending.
bool QuietStream::handle(net::Stream& stream, const Unit& unit) {
  switch (unit.kind) {
    case Unit::Kind::skipped:
      if (events_.on_skipped) events_.on_skipped();
      return true;
    case Unit::Kind::confirmed:
      if (events_.on_confirmed) events_.on_confirmed();
      return true;
    case Unit::Kind::ping: {
      std::vector<std::byte> pong;
      protocol_.answer_ping(pong, unit.payload);
      stream.send_control(net::ControlKind::pong, pong);
      return true;
    }
    case Unit::Kind::refused:
      refused_.assign(reinterpret_cast<const char*>(unit.payload.data()), unit.payload.size());
      stream.close(0);
      return false;
    default:
      is_wrong_ = true;
      refused_ = "it sent something that was not asked for";
      stream.abort();
      return false;
  }
}

void QuietStream::on_data(net::Stream& stream, const net::Received& received) noexcept {
  of(stream).take(stream, received.bytes);
}
void QuietStream::on_end(net::Stream& stream) noexcept {
  stream.close(0);
}
void QuietStream::on_closed(net::Stream& stream, runtime::Error why) noexcept {
  const QuietStream& self = of(stream);
  if (self.events_.on_ended) {
    self.events_.on_ended(self.is_wrong_, self.refused_.empty() ? describe(why) : self.refused_);
  }
}

}  // namespace corelane::perf
