#pragma once
// PublishedPayloads: what is published under each sequence number: the number, 8 bytes in
// little-endian as far as the size goes, and then bytes of a generator from a place that the number
// chooses. So any of them can be made, and compared with what came, without being kept. A value of
// one core.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "runtime/assert.hpp"
#include "runtime/random.hpp"

namespace corelane::perf {

class PublishedPayloads {
 public:
  explicit PublishedPayloads(std::size_t payload_bytes)
      : head_bytes_(std::min(payload_bytes, sizeof(std::uint64_t))),
        pattern_(payload_bytes + kShiftMax),
        payload_(payload_bytes) {
    RT_ASSERT(payload_bytes > 0);
    runtime::Random random(kSeed);
    random.fill(pattern_);
  }

  std::size_t payload_bytes() const noexcept { return payload_.size(); }
  // Valid until the next call.
  std::span<const std::byte> make(std::uint64_t sequence) noexcept {
    std::memcpy(payload_.data(), &sequence, head_bytes_);
    std::memcpy(payload_.data() + head_bytes_, tail(sequence), payload_.size() - head_bytes_);
    return payload_;
  }
  bool matches(std::uint64_t sequence, std::span<const std::byte> payload) const noexcept {
    return payload.size() == payload_.size() &&
           std::memcmp(payload.data(), &sequence, head_bytes_) == 0 &&
           std::memcmp(payload.data() + head_bytes_, tail(sequence),
                       payload.size() - head_bytes_) == 0;
  }
  // The number that a payload bears, right or wrong.
  std::uint64_t number_in(std::span<const std::byte> payload) const noexcept {
    std::uint64_t number = 0;
    std::memcpy(&number, payload.data(), std::min(payload.size(), head_bytes_));
    return number;
  }

 private:
  static constexpr std::uint64_t kSeed = 0x66616e6f7574;
  static constexpr std::size_t kShiftMax = 256;

  const std::byte* tail(std::uint64_t sequence) const noexcept {
    return pattern_.data() + head_bytes_ + sequence * 7 % kShiftMax;
  }

  std::size_t head_bytes_;
  std::vector<std::byte> pattern_;
  std::vector<std::byte> payload_;
};

}  // namespace corelane::perf
