#include "perf/lines/client.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "protocol/frame.hpp"
#include "protocol/verify.hpp"

namespace corelane::perf::lines {
namespace {

constexpr timeval kPatience{.tv_sec = 60, .tv_usec = 0};
constexpr std::size_t kReadBytes = 256 * 1024;
constexpr std::string_view kUpgrade =
    "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
constexpr unsigned char kMask[4] = {0x12, 0x34, 0x56, 0x78};

// A server's frame at the start of `bytes`: where its payload begins and how long it is; 0, 0 while
// the header is not whole.
struct Frame {
  std::size_t start = 0;
  std::size_t size = 0;
};
Frame frame_at(std::string_view bytes) {
  const auto byte = [bytes](std::size_t at) { return static_cast<unsigned char>(bytes[at]); };
  if (bytes.size() < 2) return {};
  const std::size_t start = byte(1) < 126 ? 2 : byte(1) == 126 ? 4 : 10;
  if (bytes.size() < start) return {};
  std::size_t size = start == 2 ? byte(1) : 0;
  for (std::size_t i = 2; i < start; ++i) size = size << 8 | byte(i);
  return {.start = start, .size = size};
}

}  // namespace

Client::Client(const runtime::Address& server)
    : socket_(::socket(server.family(), SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  EXPECT_EQ(::connect(socket_, server.raw(), server.raw_bytes()), 0) << std::strerror(errno);
  outgoing_ = kUpgrade;
  send();
  while (incoming_.find("\r\n\r\n") == std::string::npos) {
    if (!fill()) return;
  }
  EXPECT_TRUE(incoming_.starts_with("HTTP/1.1 101 ")) << incoming_;
  taken_ = incoming_.find("\r\n\r\n") + 4;
}

Client::~Client() {
  if (socket_ >= 0) ::close(socket_);
}

Client::Client(Client&& other) noexcept
    : socket_(std::exchange(other.socket_, -1)),
      outgoing_(std::move(other.outgoing_)),
      incoming_(std::move(other.incoming_)),
      taken_(other.taken_) {}

void Client::put(std::span<const std::byte> payload) {
  const std::size_t size = payload.size();
  ASSERT_LT(size, 65536u);
  outgoing_ += '\x82';
  if (size < 126) {
    outgoing_ += static_cast<char>(0x80 | size);
  } else {
    outgoing_ += '\xfe';
    outgoing_ += static_cast<char>(size >> 8);
    outgoing_ += static_cast<char>(size & 0xff);
  }
  outgoing_.append(reinterpret_cast<const char*>(kMask), sizeof kMask);
  for (std::size_t i = 0; i < size; ++i) {
    outgoing_ += static_cast<char>(static_cast<unsigned char>(payload[i]) ^ kMask[i % 4]);
  }
}

void Client::send() {
  std::size_t sent = 0;
  while (socket_ >= 0 && sent < outgoing_.size()) {
    const ssize_t count =
        ::send(socket_, outgoing_.data() + sent, outgoing_.size() - sent, MSG_NOSIGNAL);
    if (count > 0) {
      sent += static_cast<std::size_t>(count);
    } else {
      ADD_FAILURE() << "send: " << std::strerror(errno);
      ::close(std::exchange(socket_, -1));
    }
  }
  outgoing_.clear();
}

bool Client::fill() {
  if (socket_ < 0) return false;
  const std::size_t before = incoming_.size();
  incoming_.resize(before + kReadBytes);
  const ssize_t count = ::recv(socket_, incoming_.data() + before, kReadBytes, 0);
  incoming_.resize(before + static_cast<std::size_t>(count > 0 ? count : 0));
  if (count > 0) return true;
  ADD_FAILURE() << "receive: " << (count == 0 ? "the server has closed" : std::strerror(errno));
  ::close(std::exchange(socket_, -1));
  return false;
}

std::span<const std::byte> Client::receive(std::size_t messages) {
  incoming_.erase(0, taken_);
  taken_ = 0;
  std::string_view last;
  for (std::size_t got = 0; got < messages;) {
    const std::string_view rest = std::string_view{incoming_}.substr(taken_);
    const Frame frame = frame_at(rest);
    if (frame.start != 0 && rest.size() >= frame.start + frame.size) {
      last = rest.substr(frame.start, frame.size);
      taken_ += frame.start + frame.size;
      ++got;
    } else if (!fill()) {
      return {};
    }
  }
  return std::as_bytes(std::span{last});
}

unsigned Client::core() {
  put_request(protocol::WhoAmIBody{}, protocol::Uuid{});
  send();
  const auto reply = receive(1);
  protocol::FrameCursor cursor(reply, reply.size());
  const protocol::Frame frame = cursor.next();
  if (frame.status == protocol::FrameStatus::complete) {
    const auto message = protocol::verify_message(frame.message);
    protocol::AlignedScratch scratch;
    const auto payload =
        protocol::verify_payload<protocol::fbs::WhoAmIReply>(message.view.payload, scratch);
    if (message.ok && payload) return payload.table->core();
  }
  ADD_FAILURE() << "WhoAmI is not answered";
  return 0;
}

}  // namespace corelane::perf::lines
