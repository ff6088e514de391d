#include "protocol/requests.hpp"

#include <cstring>

#include "protocol/assert.hpp"
#include "protocol/bytes.hpp"

namespace corelane::protocol {
namespace {

using Bytes = std::span<const std::byte>;

// How a payload begins that write_frame() has built, up to the end of the table's way back to its
// vtable: root offset, vtable, padding, way back. The tests hold these numbers, and the positions
// below, against frames of write_frame(), which does not know them.
template <class Request>
struct Usual;

template <>
struct Usual<PingRequest> {
  using Table = fbs::PingRequest;
  static constexpr std::uint32_t kFront[] = {12, 0x0008'0006, 4, 8};
  static constexpr std::size_t kTableEnd = 20;
};
template <>
struct Usual<PublishRequest> {
  using Table = fbs::PublishRequest;
  static constexpr std::uint32_t kFront[] = {20, 0x000d'000a, 0x0008'0004, 12, 0, 16};
  static constexpr std::size_t kTableEnd = 33;
};
template <>
struct Usual<SendRequest> {
  using Table = fbs::SendRequest;
  static constexpr std::uint32_t kFront[] = {20, 0x0019'000a, 0x0004'0008, 24, 0, 16};
  static constexpr std::size_t kTableEnd = 45;
};
template <>
struct Usual<BroadcastRequest> {
  using Table = fbs::BroadcastRequest;
  static constexpr std::uint32_t kFront[] = {20, 0x000a'000a, 0x0008'0004, 9, 0, 16};
  static constexpr std::size_t kTableEnd = 30;
};

// The vector of bytes that the offset in `slot` points at, by the verifier's rules.
bool find_bytes(Bytes payload, std::size_t slot, Bytes& found) noexcept {
  PROTOCOL_DEBUG_ASSERT(slot + sizeof(std::uint32_t) <= payload.size());
  const std::size_t offset = load<std::uint32_t>(&payload[slot]);
  const std::size_t vector = slot + offset;
  if (offset == 0 || vector % sizeof(std::uint32_t) != 0) return false;
  if (vector > payload.size() - sizeof(std::uint32_t)) return false;
  const std::size_t count = load<std::uint32_t>(&payload[vector]);
  if (count > payload.size() - vector - sizeof(std::uint32_t)) return false;
  found = payload.subspan(vector + sizeof(std::uint32_t), count);
  return true;
}

bool find_text(Bytes payload, std::size_t slot, std::string_view& found) noexcept {
  Bytes bytes;
  if (!find_bytes(payload, slot, bytes)) return false;
  const std::byte* const end = bytes.data() + bytes.size();
  if (end == payload.data() + payload.size() || *end != std::byte{0}) return false;
  found = {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  return true;
}

bool flag(Bytes payload, std::size_t at) noexcept {
  return payload[at] != std::byte{0};
}

// The fields of a table that is known to be the usual one.
bool read_fields(Bytes payload, PingRequest& request) noexcept {
  return find_bytes(payload, 16, request.data);
}
bool read_fields(Bytes payload, PublishRequest& request) noexcept {
  request.requires_ack = flag(payload, 32);
  return find_text(payload, 24, request.channel) && find_bytes(payload, 28, request.data);
}
bool read_fields(Bytes payload, SendRequest& request) noexcept {
  request.session = load<Uuid>(&payload[28]);
  request.requires_ack = flag(payload, 44);
  return find_bytes(payload, 24, request.data);
}
bool read_fields(Bytes payload, BroadcastRequest& request) noexcept {
  request.requires_ack = flag(payload, 28);
  request.include_self = flag(payload, 29);
  return find_bytes(payload, 24, request.data);
}

// The same of any table that has been verified.
void take_fields(const fbs::PingRequest& table, PingRequest& request) noexcept {
  request.data = bytes_of(table.data());
}
void take_fields(const fbs::PublishRequest& table, PublishRequest& request) noexcept {
  request = {.channel = text_of(table.channel()),
             .data = bytes_of(table.data()),
             .requires_ack = table.requires_ack()};
}
void take_fields(const fbs::SendRequest& table, SendRequest& request) noexcept {
  request = {.session = from_fbs(table.session()),
             .data = bytes_of(table.data()),
             .requires_ack = table.requires_ack()};
}
void take_fields(const fbs::BroadcastRequest& table, BroadcastRequest& request) noexcept {
  request = {.data = bytes_of(table.data()),
             .requires_ack = table.requires_ack(),
             .include_self = table.include_self()};
}

template <class Request>
[[gnu::noinline]] ErrorCode read_any(Bytes payload, AlignedScratch& scratch, Request& request) {
  const auto verified = verify_payload<typename Usual<Request>::Table>(payload, scratch);
  if (verified) take_fields(*verified.table, request);
  return verified.code;
}

}  // namespace

template <class Request>
bool detail::read_usual(Bytes payload, Request& request) noexcept {
  using Layout = Usual<Request>;
  static_assert(Layout::kTableEnd > sizeof Layout::kFront);
  if (payload.size() < Layout::kTableEnd || payload.size() > kBufferBytesMax) return false;
  return std::memcmp(payload.data(), Layout::kFront, sizeof Layout::kFront) == 0 &&
         read_fields(payload, request);
}

template <class Request>
ErrorCode read_request(Bytes payload, AlignedScratch& scratch, Request& request) {
  if (detail::read_usual(payload, request)) return ErrorCode::none;
  return read_any(payload, scratch, request);
}

template bool detail::read_usual(Bytes, PingRequest&) noexcept;
template bool detail::read_usual(Bytes, PublishRequest&) noexcept;
template bool detail::read_usual(Bytes, SendRequest&) noexcept;
template bool detail::read_usual(Bytes, BroadcastRequest&) noexcept;
template ErrorCode read_request(Bytes, AlignedScratch&, PingRequest&);
template ErrorCode read_request(Bytes, AlignedScratch&, PublishRequest&);
template ErrorCode read_request(Bytes, AlignedScratch&, SendRequest&);
template ErrorCode read_request(Bytes, AlignedScratch&, BroadcastRequest&);

}  // namespace corelane::protocol
