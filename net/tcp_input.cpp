#include "net/tcp_input.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "runtime/assert.hpp"

namespace corelane::net {
namespace {

constexpr std::size_t kDelimiterMax = 64;
constexpr std::size_t kJoinedKept = 4096;  // memory that an empty input keeps

std::size_t position_in(std::span<const std::byte> bytes, std::string_view delimiter) noexcept {
  if (bytes.empty()) return std::string_view::npos;
  const void* const found =
      ::memmem(bytes.data(), bytes.size(), delimiter.data(), delimiter.size());
  if (found == nullptr) return std::string_view::npos;
  return static_cast<std::size_t>(static_cast<const std::byte*>(found) - bytes.data());
}

// Looks for a delimiter in bytes that come in parts.
class Search {
 public:
  explicit Search(std::string_view delimiter) noexcept : delimiter_(delimiter) {}

  // The part behind the one before. True: the delimiter ends in it; then end() is the number of
  // bytes of all parts up to there.
  bool look_in(std::span<const std::byte> part) noexcept {
    if (tail_bytes_ != 0 && look_across(part)) return true;
    const std::size_t at = position_in(part, delimiter_);
    if (at != std::string_view::npos) {
      end_ = before_ + at + delimiter_.size();
      return true;
    }
    before_ += part.size();
    keep_tail(part);
    return false;
  }
  std::size_t end() const noexcept { return end_; }

 private:
  // A match that begins in the parts before: none is longer than the tail and as many bytes.
  bool look_across(std::span<const std::byte> part) noexcept {
    std::array<std::byte, 2 * kDelimiterMax> window;
    const std::size_t more = std::min(part.size(), delimiter_.size() - 1);
    std::copy_n(tail_.begin(), tail_bytes_, window.begin());
    std::copy_n(part.begin(), more, window.begin() + static_cast<std::ptrdiff_t>(tail_bytes_));
    const std::size_t at = position_in({window.data(), tail_bytes_ + more}, delimiter_);
    if (at == std::string_view::npos) return false;
    end_ = before_ - tail_bytes_ + at + delimiter_.size();
    return true;
  }
  void keep_tail(std::span<const std::byte> part) noexcept {
    const std::size_t most = delimiter_.size() - 1;
    const std::size_t added = std::min(part.size(), most);
    const std::size_t kept = std::min(tail_bytes_, most - added);
    std::memmove(tail_.data(), tail_.data() + (tail_bytes_ - kept), kept);
    std::copy_n(part.end() - static_cast<std::ptrdiff_t>(added), added,
                tail_.begin() + static_cast<std::ptrdiff_t>(kept));
    tail_bytes_ = kept + added;
  }

  std::string_view delimiter_;
  std::size_t before_ = 0;  // bytes of the parts so far
  std::size_t end_ = 0;
  std::array<std::byte, kDelimiterMax> tail_{};  // the last bytes of these parts
  std::size_t tail_bytes_ = 0;
};

}  // namespace

std::size_t TcpInput::held_bytes() const noexcept {
  std::size_t bytes = joined_.capacity();
  for (std::size_t i = first_; i < pieces_.size(); ++i) {
    if (pieces_[i].copy_) bytes += pieces_[i].size();
  }
  return bytes;
}

void TcpInput::push(ReceivedBytes piece) {
  if (first_ > 0 && pieces_.size() == pieces_.capacity()) {
    pieces_.erase(pieces_.begin(), pieces_.begin() + static_cast<std::ptrdiff_t>(first_));
    first_ = 0;
  }
  bytes_ += piece.size();
  pieces_.push_back(std::move(piece));
}

void TcpInput::pop_piece() noexcept {
  pieces_[first_++].reset();
  if (first_ != pieces_.size()) return;
  pieces_.clear();
  first_ = 0;
}

void TcpInput::remove(std::size_t bytes) noexcept {
  const std::size_t from_joined = std::min(bytes, joined().size());
  joined_first_ += from_joined;
  if (joined_first_ == joined_.size() && joined_first_ != 0) {
    joined_.clear();
    joined_first_ = 0;
    if (joined_.capacity() > kJoinedKept) runtime::release_memory(joined_);
  }
  bytes -= from_joined;
  while (bytes > 0) {
    ReceivedBytes& piece = pieces_[first_];
    const std::size_t part = std::min(bytes, piece.size());
    bytes -= part;
    if (part == piece.size()) {
      pop_piece();
    } else {
      piece.remove_prefix(part);
    }
  }
}

std::size_t TcpInput::read(std::span<std::byte> into) noexcept {
  settle();
  seen_ = 0;
  std::size_t done = 0;
  const auto copy = [&](std::span<const std::byte> from) {
    const std::size_t part = std::min(from.size(), into.size() - done);
    if (part != 0) std::memcpy(into.data() + done, from.data(), part);
    done += part;
  };
  copy(joined());
  for (std::size_t i = first_; i < pieces_.size() && done < into.size(); ++i) {
    copy(pieces_[i].bytes());
  }
  remove(done);
  bytes_ -= done;
  return done;
}

ReceivedBytes TcpInput::take() {
  settle();
  seen_ = 0;
  RT_ASSERT(bytes_ > 0);
  ReceivedBytes taken;
  if (!joined().empty()) {
    taken = ReceivedBytes::copy_of(joined());
    remove(joined().size());
  } else {
    taken = std::move(pieces_[first_]);
    pop_piece();
  }
  bytes_ -= taken.size();
  return taken;
}

void TcpInput::put_back(std::span<const std::byte> bytes) {
  settle();
  seen_ = 0;
  if (joined_first_ >= bytes.size()) {
    joined_first_ -= bytes.size();
    std::copy(bytes.begin(), bytes.end(),
              joined_.begin() + static_cast<std::ptrdiff_t>(joined_first_));
  } else {
    joined_.insert(joined_.begin() + static_cast<std::ptrdiff_t>(joined_first_), bytes.begin(),
                   bytes.end());
  }
  bytes_ += bytes.size();
}

std::size_t TcpInput::find(std::string_view delimiter, std::size_t from) const noexcept {
  RT_ASSERT(!delimiter.empty());
  RT_ASSERT(delimiter.size() <= kDelimiterMax);
  RT_ASSERT(viewed_ == 0);
  Search search(delimiter);
  std::size_t skip = from;
  const auto look_in = [&](std::span<const std::byte> part) {
    const std::size_t skipped = std::min(skip, part.size());
    skip -= skipped;
    return skipped < part.size() && search.look_in(part.subspan(skipped));
  };
  bool found = look_in(joined());
  for (std::size_t i = first_; !found && i < pieces_.size(); ++i) {
    found = look_in(pieces_[i].bytes());
  }
  return found ? from + search.end() : 0;
}

// From the pieces to the end of what is joined.
void TcpInput::append_joined(std::size_t bytes) {
  while (bytes > 0) {
    ReceivedBytes& piece = pieces_[first_];
    const std::size_t part = std::min(bytes, piece.size());
    joined_.insert(joined_.end(), piece.bytes().begin(),
                   piece.bytes().begin() + static_cast<std::ptrdiff_t>(part));
    bytes -= part;
    if (part == piece.size()) {
      pop_piece();
    } else {
      piece.remove_prefix(part);
    }
  }
}

std::span<const std::byte> TcpInput::view(std::size_t bytes) {
  settle();
  seen_ = 0;
  RT_ASSERT(bytes <= bytes_);
  viewed_ = bytes;
  bytes_ -= bytes;
  if (joined().empty() && bytes != 0 && bytes <= pieces_[first_].size()) {
    return pieces_[first_].bytes().first(bytes);
  }
  if (bytes > joined().size()) append_joined(bytes - joined().size());
  return joined().first(bytes);
}

std::span<const std::byte> TcpInput::unread() {
  settle();
  seen_ = bytes_;
  if (joined().empty() && pieces() == 1) return pieces_[first_].bytes();
  append_joined(bytes_ - joined().size());
  return joined();
}

void TcpInput::consume(std::size_t bytes) noexcept {
  RT_ASSERT(bytes <= seen_);
  remove(bytes);
  bytes_ -= bytes;
  seen_ -= bytes;
  if (seen_ == 0 && link_ != nullptr) end_view();
}

void TcpInput::end_view() noexcept {
  remove(std::exchange(viewed_, 0));
  if (link_ == nullptr) return;
  unlink();
  give_back_buffers_from(first_);
}

void TcpInput::unlink() noexcept {
  if (link_ == nullptr) return;
  *link_ = next_;
  if (next_ != nullptr) next_->link_ = link_;
  link_ = nullptr;
  next_ = nullptr;
}

void TcpInput::give_back_buffers() {
  give_back_buffers_from(first_ + (views_piece() ? 1 : 0));
}

void TcpInput::give_back_buffers_from(std::size_t index) {
  for (std::size_t i = index; i < pieces_.size(); ++i) {
    if (pieces_[i].pool_ != nullptr) pieces_[i] = ReceivedBytes::copy_of(pieces_[i].bytes());
  }
}

void TcpInput::outlive_stream(TcpInput*& viewed) {
  give_back_buffers();
  if (!views_piece() || pieces_[first_].pool_ == nullptr) return;
  link_ = &viewed;
  next_ = viewed;
  if (next_ != nullptr) next_->link_ = &next_;
  viewed = this;
}

void TcpInput::join() {
  settle();
  append_joined(bytes_ - joined().size());
}

void TcpInput::clear() noexcept {
  unlink();
  runtime::release_memory(joined_);
  joined_first_ = 0;
  pieces_.clear();
  first_ = 0;
  bytes_ = 0;
  viewed_ = 0;
  seen_ = 0;
}

}  // namespace corelane::net
