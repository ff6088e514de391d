#pragma once
// SendQueue: what one stream still has to send, in order: pieces of memory with their owners. It
// exists only while there is something to send (an idle stream holds none) and comes from the
// core's pool. One send operation is in flight at most; pieces stay until the kernel is done with
// them.
//
//   pieces: [ in flight, first one sent up to `offset_` ][ waiting ... ]
//                                                       ^ control frames are put in here
//
// A piece consists of whole frames, so a control frame may stand between any two pieces, but never
// inside one that has been sent in part, nor before a fence (a change of protocol).

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "runtime/assert.hpp"
#include "runtime/buffer_pool.hpp"
#include "runtime/shared_bytes.hpp"
#include "runtime/types.hpp"

namespace net {

// Who owns a piece's bytes, and gets them back.
enum class PieceOwner : std::uint8_t {
  nobody,   // static memory
  buffer,   // a lease on a receive buffer
  shared,   // a runtime::SharedBytes handle
  heap,     // a block of new std::byte[]
  block,    // an append block of the pool
  foreign,  // something of the layer above
};

// Memory of the layer above, lent until sent: embed it and give a function that takes it back.
struct ForeignBytes {
  void (*release)(ForeignBytes& self) noexcept;
};

// What a control piece is. A newer pong takes the place of one that has not been begun.
enum class ControlKind : std::uint8_t { none, pong, ping, close };

struct Piece {
  const std::byte* data;
  std::uint32_t bytes;
  PieceOwner owner;
  ControlKind control = ControlKind::none;
  runtime::BufferId buffer{};
  void* handle = nullptr;  // shared: the released handle; heap, block: the memory; foreign: it
};
static_assert(sizeof(Piece) == 32);

class SendQueue;

// What all send queues of a core share: spare queues, append blocks, and the lease pool.
class SendPool {
 public:
  static constexpr std::uint32_t kBlockBytes = 4096;  // small writes are gathered in these
  static constexpr std::size_t kSpareMax = 1024;      // queues and blocks kept

  explicit SendPool(runtime::BufferPool& buffers) noexcept : buffers_(buffers) {}
  ~SendPool();
  SendPool(const SendPool&) = delete;
  SendPool& operator=(const SendPool&) = delete;

  SendQueue* take_queue();
  void give_queue(SendQueue* queue) noexcept;
  std::byte* take_block();
  void give_block(std::byte* block) noexcept;
  void release(const Piece& piece) noexcept;
  runtime::BufferPool& buffers() noexcept { return buffers_; }
  // Those in use, in no order.
  std::span<SendQueue* const> queues() const noexcept { return queues_; }

 private:
  runtime::BufferPool& buffers_;
  std::vector<SendQueue*> queues_;
  std::vector<std::unique_ptr<SendQueue>> spare_queues_;
  std::vector<std::byte*> spare_blocks_;
};

class SendQueue {
 public:
  static constexpr std::size_t kVectorsMax = 64;                 // pieces in one operation
  static constexpr std::size_t kOperationBytesMax = 256 * 1024;  // and bytes, so that a control
                                                                 // frame never waits behind more

  bool empty() const noexcept { return head_ == pieces_.size(); }
  // Bytes not yet taken by the kernel, including those in flight.
  std::size_t bytes() const noexcept { return bytes_; }
  bool in_flight() const noexcept { return in_flight_pieces_ != 0; }

  // Takes over the piece's owner.
  void push(const Piece& piece);
  // Before everything that waits, behind what has been begun and other control pieces. A piece of
  // the same kind that waits is replaced.
  void push_control(const Piece& piece, SendPool& pool);
  // What is in the queue now is neither overtaken by control pieces nor dropped: it belongs to the
  // protocol that was spoken before.
  void fence() noexcept {
    fenced_pieces_ = pieces_.size() - head_;
    block_room_ = 0;
  }
  // Room for `bytes` at the end, to be filled at once: in the last append block if it has so much,
  // so that small writes of a turn leave in one piece. Bytes of one call stay together.
  std::byte* append(std::size_t bytes, SendPool& pool) {
    RT_ASSERT(bytes > 0);
    return bytes <= block_room_ ? extend_block(bytes) : append_piece(bytes, pool);
  }
  // Extends the last piece if `more` lies right behind it in the same receive buffer.
  bool extend_last(runtime::BufferId buffer, std::span<const std::byte> more) noexcept;
  // The last waiting piece, if it is of this receive buffer: its end. nullptr otherwise.
  std::byte* end_in_buffer(runtime::BufferId buffer) noexcept;

  // The next operation: one piece as bytes, several as a message. `begin` marks them in flight.
  struct Operation {
    std::span<const std::byte> bytes;  // if `message` is null
    const msghdr* message = nullptr;
  };
  // At most `bytes_max` of several pieces, or one piece however large.
  Operation begin(std::size_t bytes_max = kOperationBytesMax) noexcept;
  // The operation ended after `sent` bytes (0 on error): releases what is through.
  void end(std::size_t sent, SendPool& pool) noexcept;
  // Releases what waits but is not in flight, sent in part nor fenced; returns the bytes dropped.
  std::size_t drop_waiting(SendPool& pool) noexcept;
  void drop_all(SendPool& pool) noexcept;

  // For Network's judgement of what the socket takes.
  bool behind = false;          // it has not taken all it was given, nor half of the limit since
  std::size_t begun_bytes = 0;  // of the send in flight
  std::uint32_t begun_in = 0;   // the flush that began it

  // For Network's look-out for peers that do not read.
  std::uint32_t stream_slot = 0;
  bool probed = false;                   // the send in flight was asked to end
  runtime::Nanoseconds progress_at = 0;  // when the peer last took bytes, or the queue was taken

 private:
  friend class SendPool;
  std::size_t first_waiting() const noexcept;
  std::byte* append_piece(std::size_t bytes, SendPool& pool);
  std::byte* extend_block(std::size_t bytes) noexcept {
    Piece& last = pieces_.back();
    std::byte* const start = static_cast<std::byte*>(last.handle) + last.bytes;
    last.bytes += static_cast<std::uint32_t>(bytes);
    block_room_ -= static_cast<std::uint32_t>(bytes);
    bytes_ += bytes;
    return start;
  }

  std::size_t index_ = 0;      // in the pool's queues()
  std::vector<Piece> pieces_;  // [head_, size)
  std::size_t head_ = 0;
  std::size_t offset_ = 0;  // bytes of pieces_[head_] already sent
  std::size_t bytes_ = 0;
  std::size_t in_flight_pieces_ = 0;
  std::size_t fenced_pieces_ = 0;  // of those at head_
  std::uint32_t block_room_ = 0;   // bytes free in the last piece, if that may be appended to
  msghdr message_{};
  std::vector<iovec> vectors_;  // the kernel reads them while the operation is in flight
};

}  // namespace net
