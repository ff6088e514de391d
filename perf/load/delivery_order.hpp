#pragma once
// DeliveryOrder: the order in which all subscribers of a channel must get its messages. One
// publisher: its own order. Several: each publisher's messages keep their order, and the first
// subscriber to get a message sets the order between publishers for all others. One core.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "perf/load/published_payloads.hpp"
#include "runtime/assert.hpp"

namespace corelane::perf {

// Which of a load's sequence numbers are a channel's: first, first + step, ...; its publishers have
// them in turn.
struct Numbering {
  std::uint64_t first = 0;
  std::uint64_t step = 1;
  std::uint32_t publishers = 1;
};

class DeliveryOrder {
 public:
  // `payloads` outlives it. Several publishers need payloads that hold their whole number.
  explicit DeliveryOrder(const PublishedPayloads& payloads, Numbering numbering = {})
      : payloads_(payloads), numbering_(numbering) {
    RT_ASSERT(numbering.publishers == 1 || payloads.payload_bytes() >= sizeof(std::uint64_t));
    for (std::uint32_t i = 0; i < numbering.publishers; ++i) due_.push_back(i);
  }

  // True if this is the payload at this place of the order. The place is one that is kept, or the
  // first that no subscriber has reached.
  bool accept(std::uint64_t place, std::span<const std::byte> payload) {
    if (is_single()) return payloads_.matches(number(place), payload);
    if (place - base_ < numbers_.size()) return payloads_.matches(number(place), payload);
    const std::uint64_t came = payloads_.number_in(payload);
    if (came < numbering_.first || (came - numbering_.first) % numbering_.step != 0) return false;
    const std::uint64_t publish = (came - numbering_.first) / numbering_.step;
    std::uint64_t& due = due_[publish % due_.size()];
    if (publish != due || !payloads_.matches(came, payload)) return false;
    due += due_.size();
    numbers_.push_back(came);
    return true;
  }
  // The sequence number at a place that has been accepted, or with one publisher at any.
  std::uint64_t number(std::uint64_t place) const noexcept {
    if (is_single()) return numbering_.first + place * numbering_.step;
    return numbers_[static_cast<std::size_t>(place - base_)];
  }
  // All subscribers have what comes before `place`.
  void forget_before(std::uint64_t place) noexcept {
    for (; base_ < place && !numbers_.empty(); ++base_) numbers_.pop_front();
  }

  bool is_single() const noexcept { return due_.size() == 1; }
  const PublishedPayloads& payloads() const noexcept { return payloads_; }

 private:
  const PublishedPayloads& payloads_;
  Numbering numbering_;
  std::vector<std::uint64_t> due_;     // of each publisher: its next publish, counted over all
  std::deque<std::uint64_t> numbers_;  // several publishers: from place base_ on
  std::uint64_t base_ = 0;
};

}  // namespace corelane::perf
