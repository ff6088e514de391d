#include "net/send_queue.hpp"

#include <algorithm>
#include <cstring>

namespace net {

SendPool::~SendPool() {
  for (std::byte* block : spare_blocks_) delete[] block;
}

SendQueue* SendPool::take_queue() {
  SendQueue* queue;
  if (spare_queues_.empty()) {
    queue = std::make_unique<SendQueue>().release();
  } else {
    queue = spare_queues_.back().release();
    spare_queues_.pop_back();
  }
  queue->index_ = queues_.size();
  queues_.push_back(queue);
  return queue;
}

void SendPool::give_queue(SendQueue* queue) noexcept {
  RT_ASSERT(queue->empty());
  std::unique_ptr<SendQueue> owned(queue);
  queue->probed = false;
  queue->behind = false;
  queues_.back()->index_ = queue->index_;
  queues_[queue->index_] = queues_.back();
  queues_.pop_back();
  if (spare_queues_.size() < kSpareMax) spare_queues_.push_back(std::move(owned));
}

std::byte* SendPool::take_block() {
  if (spare_blocks_.empty()) return new std::byte[kBlockBytes];
  std::byte* block = spare_blocks_.back();
  spare_blocks_.pop_back();
  return block;
}

void SendPool::give_block(std::byte* block) noexcept {
  if (spare_blocks_.size() < kSpareMax) {
    spare_blocks_.push_back(block);
  } else {
    delete[] block;
  }
}

void SendPool::release(const Piece& piece) noexcept {
  switch (piece.owner) {
    case PieceOwner::nobody:
      break;
    case PieceOwner::buffer:
      buffers_.release(piece.buffer);
      break;
    case PieceOwner::shared:
      runtime::SharedBytes::from_raw(piece.handle).reset();
      break;
    case PieceOwner::heap:
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

void SendQueue::push(const Piece& piece) {
  RT_ASSERT(piece.bytes > 0);
  pieces_.push_back(piece);
  bytes_ += piece.bytes;
  block_room_ = 0;  // whatever is appended later comes behind this piece
}

std::size_t SendQueue::first_waiting() const noexcept {
  // A piece that was sent in part must be finished first, whether or not its rest is in flight.
  const std::size_t begun = std::max<std::size_t>(in_flight_pieces_, offset_ > 0 ? 1 : 0);
  return head_ + std::max(begun, fenced_pieces_);
}

void SendQueue::push_control(const Piece& piece, SendPool& pool) {
  RT_ASSERT(piece.control != ControlKind::none);
  bytes_ += piece.bytes;
  std::size_t at = first_waiting();
  for (; at < pieces_.size() && pieces_[at].control != ControlKind::none; ++at) {
    if (pieces_[at].control != piece.control) continue;
    bytes_ -= pieces_[at].bytes;
    pool.release(pieces_[at]);
    pieces_[at] = piece;
    return;
  }
  if (at == pieces_.size()) block_room_ = 0;
  pieces_.insert(pieces_.begin() + static_cast<std::ptrdiff_t>(at), piece);
}

std::byte* SendQueue::append_piece(std::size_t bytes, SendPool& pool) {
  if (bytes > SendPool::kBlockBytes) {
    auto* memory = new std::byte[bytes];
    push({.data = memory,
          .bytes = static_cast<std::uint32_t>(bytes),
          .owner = PieceOwner::heap,
          .handle = memory});
    return memory;
  }
  std::byte* block = pool.take_block();
  pieces_.push_back({.data = block, .bytes = 0, .owner = PieceOwner::block, .handle = block});
  block_room_ = SendPool::kBlockBytes;
  return extend_block(bytes);
}

std::byte* SendQueue::end_in_buffer(runtime::BufferId buffer) noexcept {
  if (empty() || pieces_.size() <= first_waiting()) return nullptr;
  const Piece& last = pieces_.back();
  if (last.owner != PieceOwner::buffer || last.buffer != buffer) return nullptr;
  return const_cast<std::byte*>(last.data) + last.bytes;
}

bool SendQueue::extend_last(runtime::BufferId buffer, std::span<const std::byte> more) noexcept {
  if (end_in_buffer(buffer) != more.data()) return false;
  pieces_.back().bytes += static_cast<std::uint32_t>(more.size());
  bytes_ += more.size();
  return true;
}

SendQueue::Operation SendQueue::begin(std::size_t bytes_max) noexcept {
  RT_ASSERT(!in_flight());
  RT_ASSERT(!empty());
  const Piece& first = pieces_[head_];
  const std::span<const std::byte> rest{first.data + offset_, first.bytes - offset_};
  // What is appended from here on must not go into a block that the kernel reads.
  block_room_ = 0;
  if (head_ + 1 == pieces_.size() || rest.size() >= bytes_max) {
    in_flight_pieces_ = 1;
    begun_bytes = rest.size();
    return {.bytes = rest, .message = nullptr};
  }
  vectors_.clear();
  std::size_t total = 0;
  for (std::size_t i = head_; i < pieces_.size() && vectors_.size() < kVectorsMax; ++i) {
    const Piece& piece = pieces_[i];
    const std::size_t skip = i == head_ ? offset_ : 0;
    if (total + piece.bytes - skip > bytes_max && total > 0) break;
    vectors_.push_back(
        {.iov_base = const_cast<std::byte*>(piece.data) + skip, .iov_len = piece.bytes - skip});
    total += piece.bytes - skip;
  }
  in_flight_pieces_ = vectors_.size();
  begun_bytes = total;
  message_ = {};
  message_.msg_iov = vectors_.data();
  message_.msg_iovlen = vectors_.size();
  return {.bytes = {}, .message = &message_};
}

void SendQueue::end(std::size_t sent, SendPool& pool) noexcept {
  RT_ASSERT(sent <= bytes_);
  in_flight_pieces_ = 0;
  bytes_ -= sent;
  while (sent > 0) {
    const Piece& first = pieces_[head_];
    const std::size_t rest = first.bytes - offset_;
    if (sent < rest) {
      offset_ += sent;
      return;
    }
    sent -= rest;
    offset_ = 0;
    pool.release(first);
    ++head_;
    if (fenced_pieces_ > 0) --fenced_pieces_;
  }
  if (empty()) {
    pieces_.clear();
    head_ = 0;
  } else if (head_ > pieces_.size() / 2) {
    pieces_.erase(pieces_.begin(), pieces_.begin() + static_cast<std::ptrdiff_t>(head_));
    head_ = 0;
  }
}

std::size_t SendQueue::drop_waiting(SendPool& pool) noexcept {
  const std::size_t from = first_waiting();
  std::size_t dropped = 0;
  for (std::size_t i = from; i < pieces_.size(); ++i) {
    dropped += pieces_[i].bytes;
    pool.release(pieces_[i]);
  }
  pieces_.resize(std::min(from, pieces_.size()));
  bytes_ -= dropped;
  block_room_ = 0;
  return dropped;
}

void SendQueue::drop_all(SendPool& pool) noexcept {
  RT_ASSERT(!in_flight());
  for (std::size_t i = head_; i < pieces_.size(); ++i) pool.release(pieces_[i]);
  pieces_.clear();
  head_ = 0;
  offset_ = 0;
  bytes_ = 0;
  fenced_pieces_ = 0;
  block_room_ = 0;
}

}  // namespace net
