#include "tools/output.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <climits>

namespace corelane::tools {

using runtime::Error;
using runtime::ErrorCode;
using runtime::Task;
using runtime::WaitQueue;

void Output::line(std::string_view text) {
  if (failure_) return;
  if (when_full_ == WhenFull::drop && bytes_ + text.size() > bytes_max_) {
    ++lost_lines_;
    return;
  }
  append(text);
}

void Output::append(std::string_view text) {
  const bool ends = !text.empty() && text.back() == '\n';
  const std::size_t bytes = text.size() + (ends ? 0 : 1);
  if (blocks_.empty() || blocks_.back().capacity() - blocks_.back().size() < bytes) {
    if (bytes_ == 0) blocks_.clear();
    blocks_.emplace_back().reserve(std::max(bytes, kBlockBytes));
  }
  blocks_.back() += text;
  if (!ends) blocks_.back() += '\n';
  bytes_ += bytes;
  more_.wake_all(WaitQueue::Outcome::granted);
}

Task<bool> Output::room() {
  if (bytes_ <= bytes_max_) co_return !failure_;
  while (!failure_ && bytes_ > bytes_max_ / 2) {
    WaitQueue::Waiter waiter{room_};
    if (co_await waiter == WaitQueue::Outcome::cancelled) co_return false;
  }
  co_return !failure_;
}

Task<bool> Output::flushed() {
  while (!failure_ && bytes_ > 0) {
    WaitQueue::Waiter waiter{flushed_};
    if (co_await waiter == WaitQueue::Outcome::cancelled) co_return false;
  }
  co_return !failure_;
}

Task<Error> Output::until_failed() {
  while (!failure_) {
    WaitQueue::Waiter waiter{failed_};
    if (co_await waiter == WaitQueue::Outcome::cancelled) co_return Error{ErrorCode::cancelled, 0};
  }
  co_return *failure_;
}

std::size_t Output::waiting_lines() const noexcept {
  std::size_t lines = 0;
  for (const std::string& block : blocks_) {
    const std::size_t from = &block == &blocks_.front() ? at_ : 0;
    lines += static_cast<std::size_t>(
        std::count(block.begin() + static_cast<std::ptrdiff_t>(from), block.end(), '\n'));
  }
  return lines;
}

// As many whole lines as a pipe takes without mixing them with those of others; of a longer line,
// all that is left.
std::span<const std::byte> Output::next_piece() const noexcept {
  const std::string_view rest = std::string_view{blocks_.front()}.substr(at_);
  std::size_t end = rest.size();
  if (end > PIPE_BUF) {
    const std::size_t last = rest.rfind('\n', PIPE_BUF - 1);
    end = (last != rest.npos ? last : rest.find('\n', PIPE_BUF)) + 1;
  }
  return std::as_bytes(std::span{rest.substr(0, end)});
}

void Output::took(std::size_t bytes) {
  at_ += bytes;
  bytes_ -= bytes;
  if (at_ == blocks_.front().size()) {
    at_ = 0;
    if (bytes_ == 0 && blocks_.front().capacity() < 2 * kBlockBytes) {
      blocks_.front().clear();
    } else {
      blocks_.pop_front();
    }
  }
  if (bytes_ == 0 && lost_lines_ != 0) {
    append(fmt::format("corelane: {} lines were lost: nobody read them\n", lost_lines_));
    lost_lines_ = 0;
  }
  if (bytes_ <= bytes_max_ / 2) room_.wake_all(WaitQueue::Outcome::granted);
  if (bytes_ == 0) flushed_.wake_all(WaitQueue::Outcome::granted);
}

void Output::fail(Error error) {
  if (failure_) return;
  failure_ = error;
  more_.wake_all(WaitQueue::Outcome::closed);
  room_.wake_all(WaitQueue::Outcome::closed);
  flushed_.wake_all(WaitQueue::Outcome::closed);
  failed_.wake_all(WaitQueue::Outcome::closed);
}

Task<void> Output::write_all() {
  while (!failure_) {
    if (bytes_ == 0) {
      WaitQueue::Waiter waiter{more_};
      if (co_await waiter == WaitQueue::Outcome::cancelled) co_return;
      continue;
    }
    const auto written = co_await write_some(descriptor_, next_piece());
    if (written && *written > 0) {
      took(*written);
    } else if (!written && written.error().code == ErrorCode::cancelled) {
      co_return;
    } else {
      fail(written ? Error::from_errno(EIO) : written.error());
    }
  }
}

Task<void> Output::watch_reader() {
  const bool gone = co_await until_reader_gone(descriptor_);
  if (gone) fail(Error::from_errno(EPIPE));
}

}  // namespace corelane::tools
