#include "net/send_queue.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "runtime/core.hpp"

namespace corelane::net {
namespace {

using runtime::MemoryKind;

constexpr std::uint32_t kCrowd = 16;  // pieces of a queue that hardly moves

// Nothing is appended to a block once another piece stands behind it. The limit counts bytes: small
// writes between pieces of other kinds would keep 4 KiB each for a peer that does not read.
void shrink_block(Piece& piece) {
  if (piece.owner != PieceOwner::block || piece.bytes > SendPool::kBlockBytes / 4) return;
  auto* const memory = new std::byte[piece.bytes];
  std::memcpy(memory, piece.data, piece.bytes);
  delete[] static_cast<std::byte*>(piece.handle);
  runtime::MemoryAccount& account = runtime::Core::current().memory();
  account.add(MemoryKind::queued, piece.bytes);
  account.remove(MemoryKind::queued, SendPool::kBlockBytes);
  piece.data = memory;
  piece.owner = PieceOwner::heap;
  piece.handle = memory;
}

}  // namespace

SendPool::SendPool(runtime::BufferPool& buffers) noexcept
    : buffers_(buffers), memory_(runtime::Core::current().memory()) {}

SendPool::~SendPool() {
  RT_ASSERT(!any_in_use());
  for (SendQueue* queue : queues_) delete queue;
  for (std::byte* block : spare_blocks_) delete[] block;
}

void SendPool::make_queue() {
  auto queue = std::make_unique<SendQueue>();
  queue->index_ = static_cast<std::uint32_t>(queues_.size());
  queues_.push_back(queue.get());
  if (spare_queues_.empty()) spare_queues_.resize(1);
  spare_queues_[spare_count_++] = queue.release();
}

// There is no room for it among the spare ones.
void SendPool::give_over(SendQueue* queue) noexcept {
  if (spare_count_ < kSpareQueuesMax) {
    spare_queues_.resize(2 * spare_count_);
    spare_queues_[spare_count_++] = queue;
    return;
  }
  queues_.back()->index_ = queue->index_;
  queues_[queue->index_] = queues_.back();
  queues_.pop_back();
  delete queue;
}

std::byte* SendPool::take_block() {
  memory_.add(MemoryKind::queued, kBlockBytes);
  if (spare_blocks_.empty()) return new std::byte[kBlockBytes];
  std::byte* block = spare_blocks_.back();
  spare_blocks_.pop_back();
  return block;
}

void SendPool::give_block(std::byte* block) noexcept {
  memory_.remove(MemoryKind::queued, kBlockBytes);
  if (spare_blocks_.size() < kSpareBlocksMax) {
    spare_blocks_.push_back(block);
  } else {
    delete[] block;
  }
}

void SendPool::release_unshared(const Piece& piece) noexcept {
  switch (piece.owner) {
    case PieceOwner::nobody:
      break;
    case PieceOwner::buffer:
      buffers_.release(piece.buffer);
      break;
    case PieceOwner::shared:
      RT_ASSERT(false);
      break;
    case PieceOwner::heap:
      memory_.remove(MemoryKind::queued, piece.bytes);
      delete[] static_cast<std::byte*>(piece.handle);
      break;
    case PieceOwner::foreign: {
      auto* foreign = static_cast<ForeignBytes*>(piece.handle);
      foreign->release(*foreign);
      break;
    }
    case PieceOwner::block:
      give_block(static_cast<std::byte*>(piece.handle));
      break;
  }
}

void SendQueue::push_behind(const Piece& piece) {
  if (end_ - head_ >= kCrowd && end_ > first_waiting()) shrink_block(last());
  make_room();
  pieces()[end_] = piece;
  block_room_ = 0;  // whatever is appended later comes behind this piece
}

// For one more piece behind the others.
void SendQueue::make_room() {
  if (end_ < (is_elsewhere_ ? capacity_ : 1)) return;
  const std::uint32_t count = end_ - head_;
  Piece* from = pieces() + head_;
  if (!is_elsewhere_ && capacity_ == 0) {
    capacity_ = 8;
    more_ = std::make_unique<Piece[]>(capacity_);
  } else if (is_elsewhere_ && count > capacity_ / 2) {
    capacity_ *= 2;
    auto larger = std::make_unique<Piece[]>(capacity_);
    std::copy_n(from, count, larger.get());
    more_ = std::move(larger);
    from = nullptr;
  }
  if (from != nullptr) std::copy_n(from, count, more_.get());
  is_elsewhere_ = true;
  head_ = 0;
  end_ = count;
}

std::uint32_t SendQueue::first_waiting() const noexcept {
  // A piece that was sent in part must be finished first, whether or not its rest is in flight.
  const std::uint32_t begun = std::max<std::uint32_t>(in_flight_pieces_, offset_ > 0 ? 1 : 0);
  return head_ + std::max(begun, fenced_pieces_);
}

std::uint32_t SendQueue::first_frame_waiting() const noexcept {
  std::uint32_t at = first_waiting();
  while (at < end_ && pieces()[at].continues) ++at;
  return at;
}

void SendQueue::push_control(const Piece& piece, SendPool& pool) {
  RT_ASSERT(piece.control != ControlKind::none);
  std::uint32_t at = first_frame_waiting();
  for (; at < end_ && pieces()[at].control != ControlKind::none; ++at) {
    Piece& waiting = pieces()[at];
    if (waiting.control != piece.control) continue;
    grow(piece.owner, piece.bytes);
    shrink(waiting.owner, waiting.bytes);
    pool.release(waiting);
    waiting = piece;
    return;
  }
  if (at == end_) {
    push(piece);
    block_room_ = 0;
    return;
  }
  // The last piece stays the last one, and may be appended to as before.
  const std::uint32_t before = at - head_;
  make_room();
  pieces()[end_++] = piece;
  grow(piece.owner, piece.bytes);
  std::rotate(pieces() + head_ + before, pieces() + end_ - 1, pieces() + end_);
}

std::byte* SendQueue::append_piece(std::size_t bytes, SendPool& pool) {
  if (bytes > SendPool::kBlockBytes) {
    std::byte* const memory = pool.allocate(bytes);
    push({.data = memory,
          .bytes = static_cast<std::uint32_t>(bytes),
          .owner = PieceOwner::heap,
          .handle = memory});
    return memory;
  }
  std::byte* block = pool.take_block();
  push({.data = block,
        .bytes = static_cast<std::uint32_t>(bytes),
        .owner = PieceOwner::block,
        .handle = block});
  block_room_ = static_cast<std::uint16_t>(SendPool::kBlockBytes - bytes);
  return block;
}

bool SendQueue::extend_last(runtime::BufferId buffer, std::span<const std::byte> more) noexcept {
  if (end_ <= first_waiting()) return false;
  Piece& piece = last();
  if (piece.owner != PieceOwner::buffer || piece.buffer != buffer) return false;
  if (piece.data + piece.bytes != more.data()) return false;
  piece.bytes += static_cast<std::uint32_t>(more.size());
  grow(PieceOwner::buffer, more.size());
  return true;
}

SendQueue::Operation SendQueue::begin(std::size_t bytes_max) {
  RT_ASSERT(!in_flight());
  RT_ASSERT(!empty());
  if (has_one() || pieces()[head_].bytes - offset_ >= bytes_max) {
    return {.bytes = begin_one(), .message = nullptr};
  }
  gather(bytes_max, false);
  gathered_->message = {};
  gathered_->message.msg_iov = gathered_->vectors.data();
  gathered_->message.msg_iovlen = gathered_->vectors.size();
  return {.bytes = {}, .message = &gathered_->message};
}

// Puts the pieces of the next operation in flight and their bytes into `vectors`. Returns the
// number of bytes: at most `bytes_max`; unless `may_cut`, a larger first piece goes whole.
std::size_t SendQueue::gather(std::size_t bytes_max, bool may_cut) {
  if (gathered_ == nullptr) gathered_ = std::make_unique<Gathered>();
  std::vector<iovec>& vectors = gathered_->vectors;
  vectors.clear();
  std::size_t total = 0;
  std::uint32_t skip = offset_;
  for (std::uint32_t i = head_; i < end_ && vectors.size() < kVectorsMax; ++i) {
    const Piece& piece = pieces()[i];
    std::size_t bytes = piece.bytes - skip;
    if (may_cut) bytes = std::min(bytes, bytes_max - total);
    if (bytes == 0 || (total + bytes > bytes_max && total > 0)) break;
    vectors.push_back({.iov_base = const_cast<std::byte*>(piece.data) + skip, .iov_len = bytes});
    total += bytes;
    skip = 0;
  }
  in_flight_pieces_ = static_cast<std::uint8_t>(vectors.size());
  block_room_ = 0;  // nothing may be appended to a block that the kernel reads
  return total;
}

std::span<const std::byte> SendQueue::begin_transformed(SendTransform& transform,
                                                        std::size_t bytes_max, SendPool& pool) {
  if (!has_transformed()) {
    RT_ASSERT(!in_flight());
    RT_ASSERT(!empty());
    const std::size_t plain_bytes = gather(bytes_max, true);
    const std::size_t room = transform.bytes_max(transform, plain_bytes);
    const bool fits_block = room <= SendPool::kBlockBytes;
    std::byte* const memory = fits_block ? pool.take_block() : new std::byte[room];
    const std::size_t bytes = transform.apply(transform, gathered_->vectors, {memory, room});
    RT_ASSERT(bytes > 0);
    RT_ASSERT(bytes <= room);
    if (!fits_block) pool.count_heap(bytes);
    gathered_->transformed = {.data = memory,
                              .bytes = static_cast<std::uint32_t>(bytes),
                              .owner = fits_block ? PieceOwner::block : PieceOwner::heap,
                              .handle = memory};
    gathered_->taken = 0;
    gathered_->plain_bytes = plain_bytes;
  }
  return {gathered_->transformed.data + gathered_->taken,
          gathered_->transformed.bytes - gathered_->taken};
}

void SendQueue::end_transformed(std::size_t sent, SendPool& pool) noexcept {
  RT_ASSERT(has_transformed());
  RT_ASSERT(sent <= gathered_->transformed.bytes - gathered_->taken);
  gathered_->taken += static_cast<std::uint32_t>(sent);
  if (gathered_->taken < gathered_->transformed.bytes) return;
  pool.release(std::exchange(gathered_->transformed, {}));
  end(gathered_->plain_bytes, pool);
}

std::size_t SendQueue::begun_bytes() const noexcept {
  std::size_t total = 0;
  for (std::uint32_t i = 0; i < in_flight_pieces_; ++i) total += pieces()[head_ + i].bytes;
  return total - (total > 0 ? offset_ : 0);
}

void SendQueue::end(std::size_t sent, SendPool& pool) noexcept {
  RT_ASSERT(sent <= bytes_);
  in_flight_pieces_ = 0;
  while (sent > 0) {
    const Piece& first = pieces()[head_];
    const std::uint32_t rest = first.bytes - offset_;
    shrink(first.owner, std::min<std::size_t>(sent, rest));
    if (sent < rest) {
      offset_ += static_cast<std::uint32_t>(sent);
      return;
    }
    sent -= rest;
    offset_ = 0;
    pool.release(first);
    ++head_;
    if (is_fenced_) is_fenced_ = --fenced_pieces_ != 0;
  }
  if (!empty()) return;
  clear();
  if (capacity_ > kPiecesKept) {
    more_.reset();
    capacity_ = 0;
  }
}

std::size_t SendQueue::drop_waiting(SendPool& pool) noexcept {
  const std::uint32_t from = first_frame_waiting();
  std::size_t dropped = 0;
  for (std::uint32_t i = from; i < end_; ++i) {
    dropped += pieces()[i].bytes;
    shrink(pieces()[i].owner, pieces()[i].bytes);
    pool.release(pieces()[i]);
  }
  end_ = std::min(from, end_);
  block_room_ = 0;
  if (empty()) clear();
  return dropped;
}

void SendQueue::drop_all(SendPool& pool) noexcept {
  if (has_transformed()) {
    pool.release(std::exchange(gathered_->transformed, {}));
  } else {
    RT_ASSERT(!in_flight());
  }
  for (std::uint32_t i = head_; i < end_; ++i) pool.release(pieces()[i]);
  clear();
  fenced_pieces_ = 0;
  is_fenced_ = false;
}

}  // namespace corelane::net
