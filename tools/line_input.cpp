#include "tools/line_input.hpp"

#include <span>

namespace corelane::tools {

using runtime::ErrorCode;
using runtime::Result;
using runtime::Task;

Task<Result<bool>> LineInput::read_more() {
  if (has_ended_) co_return false;
  buffer_.erase(0, at_);
  searched_ -= at_;
  at_ = 0;
  constexpr std::size_t kReadBytes = 64 * 1024;
  const std::size_t before = buffer_.size();
  buffer_.resize(before + kReadBytes);
  const auto count =
      co_await read_some(descriptor_, std::as_writable_bytes(std::span{buffer_}.subspan(before)));
  buffer_.resize(before + (count ? *count : 0));
  if (!count) co_return runtime::Unexpected{count.error()};
  has_ended_ = *count == 0;
  co_return !has_ended_;
}

Task<Result<std::optional<std::string>>> LineInput::next_line() {
  using Line = std::optional<std::string>;
  for (;;) {
    const std::size_t end = buffer_.find('\n', searched_);
    if (end != buffer_.npos) {
      std::string line = buffer_.substr(at_, end - at_);
      at_ = searched_ = end + 1;
      co_return Line{std::move(line)};
    }
    searched_ = buffer_.size();
    if (buffer_.size() - at_ > bytes_max_) {
      co_return runtime::fail(ErrorCode::limit_exceeded, static_cast<std::int32_t>(bytes_max_));
    }
    const auto more = co_await read_more();
    if (!more) co_return runtime::Unexpected{more.error()};
    if (*more) continue;
    if (at_ == buffer_.size()) co_return Line{};
    std::string line = buffer_.substr(at_);
    at_ = searched_ = buffer_.size();
    co_return Line{std::move(line)};
  }
}

Task<Result<std::string>> LineInput::rest() {
  for (;;) {
    const auto more = co_await read_more();
    if (!more) co_return runtime::Unexpected{more.error()};
    if (!*more) break;
    if (buffer_.size() - at_ > bytes_max_) {
      co_return runtime::fail(ErrorCode::limit_exceeded, static_cast<std::int32_t>(bytes_max_));
    }
  }
  std::string all = buffer_.substr(at_);
  at_ = searched_ = buffer_.size();
  co_return all;
}

}  // namespace corelane::tools
