#include "protocol/requests.hpp"

#include <cstring>

#include "protocol/assert.hpp"
#include "protocol/bytes.hpp"
#include "protocol/usual.hpp"

namespace corelane::protocol {
namespace {

// The table of a request, and the body that write_frame() builds it from.
template <class Request>
struct Wire;
template <>
struct Wire<PingRequest> {
  using Table = fbs::PingRequest;
  using Body = PingBody;
};
template <>
struct Wire<PublishRequest> {
  using Table = fbs::PublishRequest;
  using Body = PublishBody;
};
template <>
struct Wire<SendRequest> {
  using Table = fbs::SendRequest;
  using Body = SendBody;
};
template <>
struct Wire<BroadcastRequest> {
  using Table = fbs::BroadcastRequest;
  using Body = BroadcastBody;
};

template <class Request>
constexpr auto kUsual = layout::laid<layout::LayBody<typename Wire<Request>::Body>>();
template <class Request>
constexpr auto kUsualFront = layout::front_of<kUsual<Request>>();
template <class Request>
constexpr std::size_t kUsualTableEnd = kUsual<Request>.table_end();
// Where a field of the usual table is.
template <class Request, auto kField>
constexpr std::size_t kAt = kUsual<Request>.at(kField);

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
  return find_bytes(payload, kAt<PingRequest, fbs::PingRequest::VT_DATA>, request.data);
}
bool read_fields(Bytes payload, PublishRequest& request) noexcept {
  using T = fbs::PublishRequest;
  request.requires_ack = flag(payload, kAt<PublishRequest, T::VT_REQUIRES_ACK>);
  return find_text(payload, kAt<PublishRequest, T::VT_CHANNEL>, request.channel) &&
         find_bytes(payload, kAt<PublishRequest, T::VT_DATA>, request.data);
}
bool read_fields(Bytes payload, SendRequest& request) noexcept {
  using T = fbs::SendRequest;
  request.session = load<Uuid>(&payload[kAt<SendRequest, T::VT_SESSION>]);
  request.requires_ack = flag(payload, kAt<SendRequest, T::VT_REQUIRES_ACK>);
  return find_bytes(payload, kAt<SendRequest, T::VT_DATA>, request.data);
}
bool read_fields(Bytes payload, BroadcastRequest& request) noexcept {
  using T = fbs::BroadcastRequest;
  request.requires_ack = flag(payload, kAt<BroadcastRequest, T::VT_REQUIRES_ACK>);
  request.include_self = flag(payload, kAt<BroadcastRequest, T::VT_INCLUDE_SELF>);
  return find_bytes(payload, kAt<BroadcastRequest, T::VT_DATA>, request.data);
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
  const auto verified = verify_payload<typename Wire<Request>::Table>(payload, scratch);
  if (verified) take_fields(*verified.table, request);
  return verified.code;
}

}  // namespace

template <class Request>
bool detail::read_usual(Bytes payload, Request& request) noexcept {
  constexpr auto& kFront = kUsualFront<Request>;
  static_assert(kUsualTableEnd<Request> > kFront.size());
  if (payload.size() < kUsualTableEnd<Request> || payload.size() > kBufferBytesMax) return false;
  return std::memcmp(payload.data(), kFront.data(), kFront.size()) == 0 &&
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
