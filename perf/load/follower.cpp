#include "perf/load/follower.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "runtime/assert.hpp"

namespace corelane::perf {

Follower::Found Follower::feed(std::span<const std::byte> bytes) {
  std::vector<std::byte> rest;
  for (;;) {
    if (following_) {
      if (bytes.empty()) return Found::drained;
      follow(bytes);
      continue;
    }
    own_.insert(own_.end(), bytes.begin(), bytes.end());
    bytes = {};
    if (may_rejoin_ && rejoin()) {
      rest.assign(own_.begin() + static_cast<std::ptrdiff_t>(own_parsed_), own_.end());
      own_.clear();
      own_parsed_ = 0;
      bytes = rest;
      continue;
    }
    const std::size_t parsed = own_parsed_;
    const Found found = take_own_unit();
    if (found != Found::drained) return found;
    if (own_parsed_ == parsed) {
      own_.erase(own_.begin(), own_.begin() + static_cast<std::ptrdiff_t>(parsed));
      own_parsed_ = 0;
      return Found::drained;
    }
  }
}

// --- In the log

void Follower::follow(std::span<const std::byte>& bytes) {
  const std::span<const std::byte> expected = log_.from(position_);
  const std::size_t common = std::min(bytes.size(), expected.size());
  if (common != 0) {
    if (std::memcmp(bytes.data(), expected.data(), common) != 0) return leave_log(bytes);
    position_ += common;
    bytes = bytes.subspan(common);
    return advance();
  }
  const DeliveryLog::Extended extended = log_.extend(bytes);
  position_ += extended.consumed;
  bytes = bytes.subspan(extended.consumed);
  advance();
  // Parsed once more as our own: then it can be told what is wrong.
  if (!extended.good) return leave_log(bytes);
  if (bytes.empty()) return;
  following_ = may_rejoin_ = false;
  own_state_ = extended.rest_state;
}

void Follower::advance() noexcept {
  while (next_ < log_.sequences() && log_.boundary(next_ + 1).position <= position_) ++next_;
}

// `bytes` differ from the log somewhere: takes the whole deliveries before that, and keeps what is
// behind them as our own.
void Follower::leave_log(std::span<const std::byte>& bytes) {
  while (next_ < log_.sequences()) {
    const std::uint64_t end = log_.boundary(next_ + 1).position;
    const auto part = static_cast<std::size_t>(end - position_);
    if (part > bytes.size() || std::memcmp(bytes.data(), log_.from(position_).data(), part) != 0) {
      break;
    }
    position_ = end;
    bytes = bytes.subspan(part);
    ++next_;
  }
  const DeliveryLog::Boundary begin = log_.boundary(next_);
  const auto known =
      log_.from(begin.position).first(static_cast<std::size_t>(position_ - begin.position));
  own_.assign(known.begin(), known.end());
  own_parsed_ = 0;
  own_state_ = begin.state;
  following_ = may_rejoin_ = false;
}

// --- On our own

Follower::Found Follower::take_own_unit() {
  const Unit unit = protocol_.parse(std::span{own_}.subspan(own_parsed_), own_state_);
  own_parsed_ += unit.consumed;
  if (unit.consumed != 0) may_rejoin_ = true;
  found_bytes_.assign(unit.payload.begin(), unit.payload.end());
  switch (unit.kind) {
    case Unit::Kind::need_more:
    case Unit::Kind::skipped:
      return Found::drained;
    case Unit::Kind::confirmed:
      if (!confirmed_) log_.set_first_state(own_state_);
      confirmed_ = true;
      return Found::confirmed;
    case Unit::Kind::delivery:
      if (judged_ == Judged::yes && !order_.accept(next_, unit.payload)) return Found::wrong;
      ++next_;
      return Found::drained;
    case Unit::Kind::ping:
      return Found::ping;
    case Unit::Kind::refused:
      return Found::refused;
    case Unit::Kind::wrong:
      break;
  }
  found_bytes_.clear();
  return Found::wrong;
}

bool Follower::rejoin() noexcept {
  if (judged_ == Judged::no || !confirmed_) return false;
  if (next_ > log_.sequences() || next_ < log_.first_kept()) return false;
  const DeliveryLog::Boundary begin = log_.boundary(next_);
  if (begin.state != own_state_) return false;
  following_ = true;
  position_ = begin.position;
  return true;
}

std::string Follower::explain() const {
  if (found_bytes_.empty()) {
    return fmt::format(
        "instead of message {} came bytes that this protocol does not know, or a "
        "message of another size",
        order_.is_single() ? order_.number(next_) : next_);
  }
  const std::uint64_t number = order_.payloads().number_in(found_bytes_);
  if (!order_.is_single()) {
    return fmt::format("message {} came where it was not due: lost, doubled, out of order or wrong",
                       number);
  }
  const std::uint64_t due = order_.number(next_);
  if (number == due) return fmt::format("message {} came with wrong bytes", due);
  return fmt::format(
      "message {} came where message {} was due: lost, doubled, out of order or wrong", number,
      due);
}

}  // namespace corelane::perf
