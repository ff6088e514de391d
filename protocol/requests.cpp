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
template <>
struct Wire<CacheGetRequest> {
  using Table = fbs::CacheGetRequest;
  using Body = CacheGetBody;
};
template <>
struct Wire<CacheSetRequest> {
  using Table = fbs::CacheSetRequest;
  using Body = CacheSetBody;
};
template <>
struct Wire<CacheDeleteRequest> {
  using Table = fbs::CacheDeleteRequest;
  using Body = CacheDeleteBody;
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

std::uint64_t number_of(Bytes payload, std::size_t at) noexcept {
  return load<std::uint64_t>(&payload[at]);
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
bool read_fields(Bytes payload, CacheGetRequest& request) noexcept {
  using T = fbs::CacheGetRequest;
  request.if_newer_than = number_of(payload, kAt<CacheGetRequest, T::VT_IF_NEWER_THAN>);
  return find_text(payload, kAt<CacheGetRequest, T::VT_KEY>, request.key);
}
bool read_fields(Bytes payload, CacheSetRequest& request) noexcept {
  using T = fbs::CacheSetRequest;
  request.ttl_ms = number_of(payload, kAt<CacheSetRequest, T::VT_TTL_MS>);
  request.version = number_of(payload, kAt<CacheSetRequest, T::VT_VERSION>);
  request.lease = number_of(payload, kAt<CacheSetRequest, T::VT_LEASE>);
  request.condition = load<CacheCondition>(&payload[kAt<CacheSetRequest, T::VT_CONDITION>]);
  request.sliding = flag(payload, kAt<CacheSetRequest, T::VT_SLIDING>);
  return find_text(payload, kAt<CacheSetRequest, T::VT_KEY>, request.key) &&
         find_bytes(payload, kAt<CacheSetRequest, T::VT_VALUE>, request.value);
}
bool read_fields(Bytes payload, CacheDeleteRequest& request) noexcept {
  using T = fbs::CacheDeleteRequest;
  request.version = number_of(payload, kAt<CacheDeleteRequest, T::VT_VERSION>);
  return find_text(payload, kAt<CacheDeleteRequest, T::VT_KEY>, request.key);
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
void take_fields(const fbs::CacheGetRequest& table, CacheGetRequest& request) noexcept {
  request = {.key = text_of(table.key()), .if_newer_than = table.if_newer_than()};
}
void take_fields(const fbs::CacheSetRequest& table, CacheSetRequest& request) noexcept {
  request = {.key = text_of(table.key()),
             .value = bytes_of(table.value()),
             .ttl_ms = table.ttl_ms(),
             .version = table.version(),
             .lease = table.lease(),
             .condition = table.condition(),
             .sliding = table.sliding()};
}
void take_fields(const fbs::CacheDeleteRequest& table, CacheDeleteRequest& request) noexcept {
  request = {.key = text_of(table.key()), .version = table.version()};
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
template bool detail::read_usual(Bytes, CacheGetRequest&) noexcept;
template bool detail::read_usual(Bytes, CacheSetRequest&) noexcept;
template bool detail::read_usual(Bytes, CacheDeleteRequest&) noexcept;
template ErrorCode read_request(Bytes, AlignedScratch&, PingRequest&);
template ErrorCode read_request(Bytes, AlignedScratch&, PublishRequest&);
template ErrorCode read_request(Bytes, AlignedScratch&, SendRequest&);
template ErrorCode read_request(Bytes, AlignedScratch&, BroadcastRequest&);
template ErrorCode read_request(Bytes, AlignedScratch&, CacheGetRequest&);
template ErrorCode read_request(Bytes, AlignedScratch&, CacheSetRequest&);
template ErrorCode read_request(Bytes, AlignedScratch&, CacheDeleteRequest&);

}  // namespace corelane::protocol
