#include "perf/load/delivery_log.hpp"

#include <algorithm>

#include "runtime/assert.hpp"

namespace corelane::perf {
namespace {

constexpr std::size_t kBoundariesMin = 64;
// Forgotten bytes are erased once they are at least this many, and more than the kept bytes. So
// each byte is moved at most once.
constexpr std::size_t kForgottenMin = 256 * 1024;

}  // namespace

DeliveryLog::DeliveryLog(const FanoutProtocol& protocol, DeliveryOrder& order)
    : protocol_(protocol), order_(order), boundaries_(kBoundariesMin) {}

void DeliveryLog::set_first_state(FanoutProtocol::State state) noexcept {
  if (end() == 0) state_ = boundaries_[0].state = state;
}

void DeliveryLog::push_boundary(Boundary boundary) {
  ++sequences_;
  if (sequences_ - first_ >= boundaries_.size()) {
    std::vector<Boundary> larger(2 * boundaries_.size());
    for (std::uint64_t i = first_; i < sequences_; ++i) {
      larger[i & (larger.size() - 1)] = boundaries_[i & (boundaries_.size() - 1)];
    }
    boundaries_.swap(larger);
  }
  boundaries_[sequences_ & (boundaries_.size() - 1)] = boundary;
}

// Gives back those of the new bytes that stand behind checked_.
DeliveryLog::Extended DeliveryLog::cut(std::uint64_t end_before, bool good) {
  const std::uint64_t kept = std::max(checked_, end_before);
  bytes_.resize(static_cast<std::size_t>(kept - base_));
  return {.good = good && checked_ >= end_before,
          .consumed = static_cast<std::size_t>(kept - end_before),
          .rest_state = state_};
}

DeliveryLog::Extended DeliveryLog::extend(std::span<const std::byte> bytes) {
  const std::uint64_t end_before = end();
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  while (checked_ < end()) {
    const std::span<const std::byte> rest = from(checked_);
    if (between_deliveries_ && !protocol_.may_be_delivery(rest[0], state_)) {
      return cut(end_before, true);
    }
    FanoutProtocol::State state = state_;
    const Unit unit = protocol_.parse(rest, state);
    if (unit.kind == Unit::Kind::need_more) break;
    if (unit.kind == Unit::Kind::delivery) {
      if (!order_.accept(sequences_, unit.payload)) return cut(end_before, false);
    } else if (unit.kind != Unit::Kind::skipped) {
      return cut(end_before, true);
    }
    checked_ += unit.consumed;
    state_ = state;
    between_deliveries_ = unit.kind == Unit::Kind::delivery;
    if (between_deliveries_) push_boundary({.position = checked_, .state = state_});
  }
  return {.good = true, .consumed = bytes.size(), .rest_state = state_};
}

void DeliveryLog::forget_before(std::uint64_t sequence) noexcept {
  RT_DEBUG_ASSERT(sequence <= sequences_);
  first_ = sequence;
  const auto dead = static_cast<std::size_t>(boundary(sequence).position - base_);
  if (dead < kForgottenMin || dead < bytes_.size() - dead) return;
  bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(dead));
  base_ += dead;
}

}  // namespace corelane::perf
