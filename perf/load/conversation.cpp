#include "perf/load/conversation.hpp"

#include "runtime/await.hpp"

namespace corelane::perf {
namespace {

constexpr runtime::Nanoseconds kTimeout = 10 * runtime::kSecond;
constexpr runtime::Nanoseconds kStep = 200 * runtime::kMicrosecond;

}  // namespace

const net::StreamHandler Conversation::kHandler{"conversation", on_data,  on_end,
                                                on_closed,      on_timer, nullptr};

runtime::Task<runtime::Result<void>> Conversation::open(Opener& opener) {
  const auto stream = co_await opener.open(kHandler, this);
  if (!stream) co_return runtime::Unexpected{stream.error()};
  stream_ = *stream;
  co_return runtime::Result<void>{};
}

runtime::Task<runtime::Result<void>> Conversation::ask(std::span<const std::byte> words,
                                                       const IsWhole& is_whole) {
  received_.clear();
  net::Stream* stream = network_.find(stream_);
  if (stream == nullptr) co_return runtime::fail(runtime::ErrorCode::closed);
  stream->send_last(words);
  const runtime::Nanoseconds deadline = network_.core().now() + kTimeout;
  while (!is_whole(received_)) {
    if (closed_) co_return runtime::fail(runtime::ErrorCode::closed);
    if (network_.core().now() > deadline) co_return runtime::fail(runtime::ErrorCode::timed_out);
    co_await runtime::sleep_for(kStep);
  }
  co_return runtime::Result<void>{};
}

void Conversation::close() noexcept {
  if (net::Stream* stream = network_.find(stream_)) stream->close(0);
}

void Conversation::on_data(net::Stream& stream, const net::Received& received) noexcept {
  auto& self = *static_cast<Conversation*>(stream.owner());
  self.received_.insert(self.received_.end(), received.bytes.begin(), received.bytes.end());
}
void Conversation::on_end(net::Stream& stream) noexcept {
  stream.close(0);
}
void Conversation::on_closed(net::Stream& stream, runtime::Error) noexcept {
  static_cast<Conversation*>(stream.owner())->closed_ = true;
}

}  // namespace corelane::perf
