#pragma once
// Framing: 4 bytes of little-endian size that does not count itself, then a Message. The interface
// between a byte stream or a WebSocket message and verify_message(). Pure functions over bytes that
// somebody else owns; the views they return live as long as those bytes. Nothing allocates, nothing
// suspends.

#include <cstddef>
#include <cstdint>
#include <span>

namespace corelane::protocol {

inline constexpr std::size_t kFrameSizeBytes = 4;
// The smallest FlatBuffer that holds a table: root offset, empty vtable, the table's own vtable
// offset.
inline constexpr std::size_t kMessageBytesMin = 12;
// design limit "message 1 MiB": one WebSocket message of 1 MiB may be one frame.
inline constexpr std::size_t kFrameBytesMaxDefault = std::size_t{1} << 20;
// FlatBuffers' offsets have 31 bits; its verifier asserts on anything larger instead of refusing
// it.
inline constexpr std::size_t kBufferBytesMax = (std::size_t{1} << 31) - 2;

enum class FrameStatus : std::uint8_t {
  complete,   // message and consumed are set
  need_more,  // the bytes end inside a frame (or there are none); needed is set
  too_large,  // the size passes the limit; known from the first 4 bytes
  malformed,  // the size is too small for any Message
};

struct Frame {
  FrameStatus status;
  std::span<const std::byte> message;  // without the size; empty unless complete
  std::size_t consumed = 0;            // bytes of this frame with its size; 0 unless complete
  std::size_t needed = 0;  // need_more: bytes that the frame has in all, or 4 while that is unknown
};

// Looks at the frame at the start of bytes. frame_bytes_max counts the frame with its 4 bytes of
// size and is at most kBufferBytesMax. For a TCP stream: on need_more, keep the bytes and call
// again when at least `needed` are there; too_large and malformed end the connection, since the
// stream has lost its place.
Frame next_frame(std::span<const std::byte> bytes, std::size_t frame_bytes_max) noexcept;

// Walks the frames of one WebSocket message, which has to consist of whole frames: a frame that is
// cut off, and a message without any, are malformed. A malformed or too large frame ends the walk.
//
//   for (FrameCursor cursor(bytes, limit); !cursor.at_end();) {
//     const Frame frame = cursor.next();
//     if (frame.status != FrameStatus::complete) return refuse(frame.status);
//     …
//   }
class FrameCursor {
 public:
  FrameCursor(std::span<const std::byte> websocket_message, std::size_t frame_bytes_max) noexcept
      : rest_(websocket_message), frame_bytes_max_(frame_bytes_max) {}

  bool at_end() const noexcept { return ended_; }
  // Not to be called at the end. Never returns need_more.
  Frame next() noexcept;

 private:
  std::span<const std::byte> rest_;
  std::size_t frame_bytes_max_;
  bool ended_ = false;
};

}  // namespace corelane::protocol
