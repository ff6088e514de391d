#include "protocol/frame.hpp"

#include "protocol/assert.hpp"
#include "protocol/bytes.hpp"

namespace corelane::protocol {

Frame next_frame(std::span<const std::byte> bytes, std::size_t frame_bytes_max) noexcept {
  if (bytes.size() < kFrameSizeBytes) {
    return {.status = FrameStatus::need_more, .message = {}, .needed = kFrameSizeBytes};
  }
  const std::size_t message_bytes = load<std::uint32_t>(bytes.data());
  const std::size_t frame_bytes = kFrameSizeBytes + message_bytes;
  if (message_bytes < kMessageBytesMin) return {.status = FrameStatus::malformed, .message = {}};
  if (frame_bytes > frame_bytes_max || frame_bytes > kBufferBytesMax) {
    return {.status = FrameStatus::too_large, .message = {}};
  }
  if (bytes.size() < frame_bytes) {
    return {.status = FrameStatus::need_more, .message = {}, .needed = frame_bytes};
  }
  return {.status = FrameStatus::complete,
          .message = bytes.subspan(kFrameSizeBytes, message_bytes),
          .consumed = frame_bytes};
}

Frame FrameCursor::next() noexcept {
  PROTOCOL_DEBUG_ASSERT(!ended_);
  Frame frame = next_frame(rest_, frame_bytes_max_);
  if (frame.status == FrameStatus::complete) {
    PROTOCOL_DEBUG_ASSERT(frame.consumed >= kFrameSizeBytes + kMessageBytesMin);
    rest_ = rest_.subspan(frame.consumed);
    ended_ = rest_.empty();
    return frame;
  }
  ended_ = true;
  if (frame.status == FrameStatus::need_more) frame.status = FrameStatus::malformed;
  frame.needed = 0;
  return frame;
}

}  // namespace corelane::protocol
