#include "net/receive_policy.hpp"

#include <algorithm>

namespace corelane::net {

BufferSize ReceiveBuffers::larger(BufferSize size) const noexcept {
  constexpr auto kLargest = static_cast<std::size_t>(BufferSize::large);
  for (auto at = static_cast<std::size_t>(size) + 1; at <= kLargest; ++at) {
    if (groups[at] != group_of(size)) return static_cast<BufferSize>(at);
  }
  return size;
}

BufferSize ReceiveBuffers::smaller(BufferSize size) const noexcept {
  for (auto at = static_cast<std::size_t>(size); at > 0; --at) {
    if (groups[at - 1] != group_of(size)) return static_cast<BufferSize>(at - 1);
  }
  return size;
}

bool ReceivePolicy::count_vote(std::uint32_t bytes, std::uint32_t room,
                               const ReceiveBuffers& buffers, bool may_grow_large) noexcept {
  const BufferSize up = buffers.larger(size_);
  const BufferSize down = buffers.smaller(size_);
  int votes = votes_ - kNoVotes;
  if (bytes == room) {
    votes = std::max(votes, 0);
    if (up != size_) votes += 2;
  } else if (votes > 0) {
    --votes;
  } else if (down != size_ && bytes < buffers.bytes_of(down)) {
    votes -= 2;
  } else if (votes < 0) {
    ++votes;
  }
  votes = std::clamp(votes, -kVotesMax, kVotesMax);
  votes_ = static_cast<std::uint8_t>(votes + kNoVotes) & 0x3fU;
  const bool goes_up = votes == kVotesMax;
  if ((!goes_up && votes > -kVotesMax) || is_ending_) return false;
  if (goes_up && up == BufferSize::large && !may_grow_large) return false;
  next_size_ = goes_up ? up : down;
  votes_ = kNoVotes;
  return true;
}

}  // namespace corelane::net
