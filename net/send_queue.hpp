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
// inside one that has been sent in part, nor before a fence (a change of protocol). The exception
// is a piece that `continues` the last frame of the piece before it: nothing may stand between the
// two.

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "net/send_transform.hpp"
#include "runtime/assert.hpp"
#include "runtime/buffer_pool.hpp"
#include "runtime/cache_line.hpp"
#include "runtime/memory_account.hpp"
#include "runtime/shared_bytes.hpp"
#include "runtime/types.hpp"

namespace corelane::net {

// The owner of a piece's bytes, which gets them back.
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

// The kind of a control piece. A newer pong takes the place of one that has not been begun.
enum class ControlKind : std::uint8_t { none, pong, ping, close };

struct Piece {
  const std::byte* data;
  std::uint32_t bytes;
  PieceOwner owner;
  ControlKind control = ControlKind::none;
  bool continues = false;
  union {
    void* handle = nullptr;  // shared: the released handle; heap, block: the memory; foreign: it
    runtime::BufferId buffer;
  };
};
static_assert(sizeof(Piece) == 24);

class SendQueue;

// What all send queues of a core share: spare queues, append blocks, and the lease pool.
class SendPool {
 public:
  static constexpr std::uint32_t kBlockBytes = 4096;    // small writes are gathered in these
  static constexpr std::size_t kSpareQueuesMax = 4096;  // kept: half a MiB
  static constexpr std::size_t kSpareBlocksMax = 1024;  // and 4 MiB

  // On the core whose memory() what is queued counts in.
  explicit SendPool(runtime::BufferPool& buffers) noexcept;
  ~SendPool();
  SendPool(const SendPool&) = delete;
  SendPool& operator=(const SendPool&) = delete;

  SendQueue* take_queue(std::uint32_t stream_slot, runtime::Nanoseconds now);
  void give_queue(SendQueue* queue) noexcept;
  std::byte* take_block();
  void give_block(std::byte* block) noexcept;
  // Separate memory for many bytes, or for bytes that stay long. Becomes a piece with
  // PieceOwner::heap, which frees it. Memory from elsewhere must be counted (count_heap) before it
  // becomes such a piece.
  std::byte* allocate(std::size_t bytes) {
    count_heap(bytes);
    return new std::byte[bytes];
  }
  void count_heap(std::size_t piece_bytes) noexcept {
    memory_.add(runtime::MemoryKind::queued, piece_bytes);
  }
  void release(const Piece& piece) noexcept;
  runtime::BufferPool& buffers() noexcept { return buffers_; }
  // All queues, unordered, including spare queues, which belong to no stream.
  std::span<SendQueue* const> queues() const noexcept { return queues_; }
  bool any_in_use() const noexcept { return queues_.size() != spare_count_; }

 private:
  static constexpr std::size_t kPrefetch = 6;  // taken in a row by a fan-out

  // Prefetches the spare queue that is taken after `others` other ones.
  void prefetch_spare(std::size_t others) const noexcept {
    if (others < spare_count_) __builtin_prefetch(spare_queues_[spare_count_ - 1 - others], 1);
  }
  [[gnu::cold, gnu::noinline]] void make_queue();
  [[gnu::cold, gnu::noinline]] void give_over(SendQueue* queue) noexcept;
  void release_unshared(const Piece& piece) noexcept;

  runtime::BufferPool& buffers_;
  runtime::MemoryAccount& memory_;
  std::vector<SendQueue*> queues_;
  std::vector<SendQueue*> spare_queues_;  // the first spare_count_; the rest is room
  std::size_t spare_count_ = 0;
  std::vector<std::byte*> spare_blocks_;
};

// Most queues hold one piece for less than a turn: taken, sent, done. All that this touches lies in
// the first cache line, and the piece itself; other pieces are elsewhere.
class alignas(runtime::kCacheLine) SendQueue {
 public:
  static constexpr std::size_t kVectorsMax = 64;                 // pieces in one operation
  static constexpr std::size_t kOperationBytesMax = 256 * 1024;  // and bytes, so that a control
                                                                 // frame waits behind no more, but
                                                                 // for bursts and larger pieces
  static constexpr std::size_t kBytesMax = UINT32_MAX;  // what it counts: no limit may be larger
  static constexpr std::uint32_t kNoStream = UINT32_MAX;

  bool empty() const noexcept { return head_ == end_; }
  // Bytes not yet taken by the kernel, including those in flight; and of these, what is kept for
  // this queue alone: all but shared memory.
  std::size_t bytes() const noexcept { return bytes_; }
  std::size_t copied_bytes() const noexcept { return bytes_ - shared_bytes_; }
  bool in_flight() const noexcept { return in_flight_pieces_ != 0; }
  // The last operation ended in the middle of a piece, or of a frame of two pieces.
  bool is_sent_in_part() const noexcept {
    return offset_ != 0 || (!empty() && pieces()[head_].continues);
  }
  // Bytes of the operation in flight.
  std::size_t begun_bytes() const noexcept;

  // Takes over the piece's owner.
  void push(const Piece& piece) {
    RT_ASSERT(piece.bytes > 0);
    if (end_ == 0) [[likely]] {
      first_ = piece;
    } else {
      push_behind(piece);
    }
    ++end_;
    grow(piece.owner, piece.bytes);
  }
  // Puts it before everything that waits, behind pieces that have been begun and other control
  // pieces. A piece of the same kind that waits is replaced.
  void push_control(const Piece& piece, SendPool& pool);
  // Fences the pieces now in the queue: control pieces do not overtake them, and they are not
  // dropped. They belong to the previous protocol of the stream.
  void fence() noexcept {
    fenced_pieces_ = end_ - head_;
    is_fenced_ = fenced_pieces_ != 0;
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

  // The next operation is begun, and its pieces are in flight: one piece as bytes, several as a
  // message.
  bool has_one() const noexcept { return head_ + 1 == end_; }
  std::span<const std::byte> begin_one() noexcept {
    RT_ASSERT(!in_flight());
    const Piece& piece = pieces()[head_];
    in_flight_pieces_ = 1;
    block_room_ = 0;
    return {piece.data + offset_, piece.bytes - offset_};
  }
  struct Operation {
    std::span<const std::byte> bytes;  // if `message` is null
    const msghdr* message = nullptr;
  };
  // At most `bytes_max` of several pieces, or one piece however large.
  Operation begin(std::size_t bytes_max = kOperationBytesMax);
  // The operation ended after `sent` bytes (0 on error): releases what is through.
  void end(std::size_t sent, SendPool& pool) noexcept;
  // True if an operation that ends after `sent` bytes leaves the queue empty and as new: then
  // end_all() does what end() would.
  bool is_all(std::size_t sent) const noexcept {
    return end_ == 1 && !is_elsewhere_ && !is_fenced_ && sent == bytes_;
  }
  void end_all(SendPool& pool) noexcept {
    pool.release(first_);
    clear();
  }
  // The same through a transform: one operation takes at most `bytes_max` of the queue, in part of
  // the last piece if need be, or goes on with the rest of what the socket was given before. Pieces
  // are in flight until the socket has taken all that they became.
  std::span<const std::byte> begin_transformed(SendTransform& transform, std::size_t bytes_max,
                                               SendPool& pool);
  void end_transformed(std::size_t sent, SendPool& pool) noexcept;
  // Releases what waits but is not in flight, fenced, nor the rest of a piece or frame that was
  // sent in part; returns the bytes dropped.
  std::size_t drop_waiting(SendPool& pool) noexcept;
  // No operation may be in flight.
  void drop_all(SendPool& pool) noexcept;

  // For Network's look-out for peers that do not read.
  runtime::Nanoseconds progress_at = 0;  // when a send last completed, or the queue was taken
  std::uint32_t stream_slot = kNoStream;
  bool probed : 1 = false;   // the send in flight was asked to end
  bool stalled : 1 = false;  // this stall has been counted and told

 private:
  friend class SendPool;

  // What several pieces, or transformed ones, are sent with; the kernel reads it while the
  // operation is in flight.
  struct Gathered {
    msghdr message{};
    std::vector<iovec> vectors;
    Piece transformed{};  // what pieces in flight became; its data null: they are sent as they are
    std::uint32_t taken = 0;      // of that, by the socket
    std::size_t plain_bytes = 0;  // of the pieces
  };
  static constexpr std::uint32_t kPiecesKept = 64;  // room that an empty queue keeps
  static_assert(SendPool::kBlockBytes <= UINT16_MAX);
  static_assert(kVectorsMax <= UINT8_MAX);

  Piece* pieces() noexcept { return is_elsewhere_ ? more_.get() : &first_; }
  const Piece* pieces() const noexcept { return is_elsewhere_ ? more_.get() : &first_; }
  Piece& last() noexcept { return pieces()[end_ - 1]; }
  std::uint32_t first_waiting() const noexcept;
  // The same, behind a frame of two pieces that was begun.
  std::uint32_t first_frame_waiting() const noexcept;
  void push_behind(const Piece& piece);
  void make_room();
  std::size_t gather(std::size_t bytes_max, bool may_cut);
  bool has_transformed() const noexcept {
    return gathered_ != nullptr && gathered_->transformed.data != nullptr;
  }
  std::byte* append_piece(std::size_t bytes, SendPool& pool);
  std::byte* extend_block(std::size_t bytes) noexcept {
    Piece& block = last();
    std::byte* const start = static_cast<std::byte*>(block.handle) + block.bytes;
    block.bytes += static_cast<std::uint32_t>(bytes);
    block_room_ = static_cast<std::uint16_t>(block_room_ - bytes);
    grow(PieceOwner::block, bytes);
    return start;
  }
  // These two functions and clear() count all changes to the queue's content.
  void grow(PieceOwner owner, std::size_t bytes) noexcept {
    bytes_ += bytes;
    if (owner == PieceOwner::shared) shared_bytes_ += static_cast<std::uint32_t>(bytes);
  }
  void shrink(PieceOwner owner, std::size_t bytes) noexcept {
    bytes_ -= bytes;
    if (owner == PieceOwner::shared) shared_bytes_ -= static_cast<std::uint32_t>(bytes);
  }
  void clear() noexcept {
    head_ = 0;
    end_ = 0;
    offset_ = 0;
    bytes_ = 0;
    shared_bytes_ = 0;
    in_flight_pieces_ = 0;
    block_room_ = 0;
    is_elsewhere_ = false;
  }

  bool is_elsewhere_ : 1 = false;  // the pieces [head_, end_) are in more_, else in first_
  bool is_fenced_ : 1 = false;
  std::uint8_t in_flight_pieces_ = 0;
  std::uint16_t block_room_ = 0;  // bytes free in the last piece, if that may be appended to
  std::uint32_t head_ = 0;
  std::uint32_t end_ = 0;
  std::uint32_t offset_ = 0;        // bytes of the first piece already sent
  std::uint32_t shared_bytes_ = 0;  // of bytes_, in shared memory
  std::size_t bytes_ = 0;
  Piece first_{};
  // Here ends the first cache line.
  std::unique_ptr<Piece[]> more_;
  std::uint32_t capacity_ = 0;       // of more_
  std::uint32_t fenced_pieces_ = 0;  // of those at the front
  std::unique_ptr<Gathered> gathered_;
  std::uint32_t index_ = 0;  // in the pool's queues()
};
static_assert(sizeof(SendQueue) == 2 * runtime::kCacheLine);

inline SendQueue* SendPool::take_queue(std::uint32_t stream_slot, runtime::Nanoseconds now) {
  if (spare_count_ == 0) make_queue();
  prefetch_spare(kPrefetch);
  SendQueue* queue = spare_queues_[--spare_count_];
  queue->stream_slot = stream_slot;
  queue->progress_at = now;
  return queue;
}

inline void SendPool::give_queue(SendQueue* queue) noexcept {
  RT_ASSERT(queue->empty());
  queue->stream_slot = SendQueue::kNoStream;
  queue->probed = false;
  queue->stalled = false;
  if (spare_count_ == spare_queues_.size()) {
    give_over(queue);
  } else {
    spare_queues_[spare_count_++] = queue;
  }
}

inline void SendPool::release(const Piece& piece) noexcept {
  if (piece.owner == PieceOwner::shared) {
    runtime::SharedBytes::from_raw(piece.handle).reset();
  } else {
    release_unshared(piece);
  }
}

}  // namespace corelane::net
