#pragma once
// TcpInput: what a TcpStream has received and its user has not read yet, in order: bytes that were
// joined or put back, then the pieces as they came, mostly leases on receive buffers. It does no
// I/O. One a stream, on its core; it may outlive the stream, and the network.
//
//   [ joined ][ piece ][ piece ] ...       read from the left; new pieces at the right

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "net/received_bytes.hpp"
#include "runtime/accounted_allocator.hpp"

namespace corelane::net {

class TcpInput {
 public:
  // Limits of unread input; at either one receiving pauses. A piece may be one large buffer, and
  // holds a whole small one for a single byte.
  static constexpr std::size_t kBytesMax = 256 * 1024;
  static constexpr std::size_t kPiecesMax = 64;

  TcpInput() = default;
  ~TcpInput() { unlink(); }
  TcpInput(const TcpInput&) = delete;
  TcpInput& operator=(const TcpInput&) = delete;

  // Bytes that can be read.
  std::size_t bytes() const noexcept { return bytes_; }
  bool empty() const noexcept { return bytes_ == 0; }
  bool is_full() const noexcept { return bytes_ >= kBytesMax || pieces() >= kPiecesMax; }
  // Low enough to receive again.
  bool has_room() const noexcept { return bytes_ < kBytesMax / 2 && pieces() < kPiecesMax / 2; }
  // Memory of its own: buffers count where they belong.
  std::size_t held_bytes() const noexcept;

  void push(ReceivedBytes piece);
  // Copies as many as there are and fit, and removes them.
  std::size_t read(std::span<std::byte> into) noexcept;
  // The first piece; a copy of what was joined. Not when empty.
  ReceivedBytes take();
  // Back to the front.
  void put_back(std::span<const std::byte> bytes);
  // The number of bytes up to the end of the first `delimiter` (1 to 64 bytes); 0: there is none.
  // It does not begin before `from`.
  std::size_t find(std::string_view delimiter, std::size_t from) const noexcept;
  // The first `bytes`, not more than there are, in one piece: where they lie if they lie so, else
  // joined. They are removed by the next settle(), and valid until then.
  std::span<const std::byte> view(std::size_t bytes);
  // All there is, in one piece, to be removed by consume(): where it lies, or joined. Valid until
  // the next call that reads.
  std::span<const std::byte> unread();
  // At most as many as unread() has shown.
  void consume(std::size_t bytes) noexcept;
  // Bytes that unread() has shown and that were not consumed: what comes later is not among them.
  std::size_t seen() const noexcept { return seen_; }
  // Ends the last view(), and that of unread() if it keeps a buffer of a network that ends.
  void settle() noexcept {
    if (viewed_ != 0 || link_ != nullptr) end_view();
  }
  // Ends the view and copies all into one piece of memory: the buffers go home.
  void join();
  // Copies each piece that lies in a receive buffer: the buffers go home. Viewed bytes stay where
  // they are, and keep theirs.
  void give_back_buffers();
  // The stream has ended: the same. An input whose view keeps a buffer joins the list `viewed`
  // until the view ends; the network ends the views in its list before it destroys the buffers.
  void outlive_stream(TcpInput*& viewed);
  // Drops everything.
  void clear() noexcept;

 private:
  std::size_t pieces() const noexcept { return pieces_.size() - first_; }
  std::span<const std::byte> joined() const noexcept {
    return std::span{joined_}.subspan(joined_first_);
  }
  bool views_piece() const noexcept { return (viewed_ != 0 || seen_ != 0) && joined().empty(); }
  void give_back_buffers_from(std::size_t index);
  void unlink() noexcept;
  void end_view() noexcept;
  void remove(std::size_t bytes) noexcept;
  void pop_piece() noexcept;
  void append_joined(std::size_t bytes);

  std::size_t bytes_ = 0;   // without those that are viewed
  std::size_t viewed_ = 0;  // at the front
  std::size_t seen_ = 0;
  runtime::AccountedBytes<runtime::MemoryKind::messages> joined_;
  std::size_t joined_first_ = 0;  // those before it have been read
  std::vector<ReceivedBytes> pieces_;
  std::size_t first_ = 0;      // the pieces before it have been read
  TcpInput** link_ = nullptr;  // in the list of outlive_stream(): what points here
  TcpInput* next_ = nullptr;
};

}  // namespace corelane::net
