#pragma once
// Builds frames: a body says what a message carries, write_frame() lays it out in the caller's
// memory, from its first byte to its last, with no builder object, no allocation and one copy of
// the data. What comes out is ordinary FlatBuffers (a size-prefixed Message); tests hold it against
// FlatBuffers' own builder.
//
// Every frame is a multiple of 8 bytes long and its fields are aligned to its own start, so that
// frames laid one after another from an address that is a multiple of 8 can all be read in place.
//
// Bodies are views: what they point at has to live until the call returns, no longer.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "protocol/opcode.hpp"
#include "protocol/uuid.hpp"

namespace corelane::protocol {

using Bytes = std::span<const std::byte>;

// The fields of Message that are not the body's. Nil, and 0 for span_id, are left out of the frame.
struct MessageHeader {
  Uuid transaction_id{};        // a reply repeats that of its request
  std::uint64_t timestamp = 0;  // nanoseconds since the epoch
  Uuid trace_id{};
  std::uint64_t span_id = 0;
};

// A body has all fields of its table, in the order of the schema; lay.hpp lays them by their types.
// Two bodies have functions of their own there: RawBody, which has no table, and EventBody, whose
// publisher may be left out.
struct WhoAmIBody {
  static constexpr Opcode kOpcode = Opcode::WhoAmI;
  using Table = fbs::WhoAmIRequest;
};
struct WhoAmIReplyBody {
  static constexpr Opcode kOpcode = Opcode::WhoAmIReply;
  using Table = fbs::WhoAmIReply;
  Uuid session{};
  std::uint16_t core = 0;
  Transport transport = Transport::unknown;
  std::string_view remote_address;
  std::string_view node;
  std::string_view server_version;
  std::uint32_t frame_bytes_max = 0;
  std::uint32_t subscriptions_max = 0;
};
struct PingBody {
  static constexpr Opcode kOpcode = Opcode::Ping;
  using Table = fbs::PingRequest;
  Bytes data;
};
struct PongBody {
  static constexpr Opcode kOpcode = Opcode::Pong;
  using Table = fbs::PongReply;
  Bytes data;
  std::uint64_t server_time = 0;
};
struct SubscribeBody {
  static constexpr Opcode kOpcode = Opcode::ClientSubscribe;
  using Table = fbs::SubscribeRequest;
  std::span<const std::string_view> channels;
};
struct SubscribeReplyBody {
  static constexpr Opcode kOpcode = Opcode::SubscribeReply;
  using Table = fbs::SubscribeReply;
  std::span<const fbs::ChannelResult> results;  // in the order of the request's channels
};
struct UnsubscribeBody {
  static constexpr Opcode kOpcode = Opcode::ClientUnsubscribe;
  using Table = fbs::UnsubscribeRequest;
  std::span<const std::string_view> channels;
};
struct UnsubscribeReplyBody {
  static constexpr Opcode kOpcode = Opcode::UnsubscribeReply;
  using Table = fbs::UnsubscribeReply;
  std::span<const fbs::ChannelResult> results;
};
struct PublishBody {
  static constexpr Opcode kOpcode = Opcode::Publish;
  using Table = fbs::PublishRequest;
  std::string_view channel;
  Bytes data;
  bool requires_ack = false;
};
struct SendBody {
  static constexpr Opcode kOpcode = Opcode::Send;
  using Table = fbs::SendRequest;
  Uuid session{};
  Bytes data;
  bool requires_ack = false;
};
struct BroadcastBody {
  static constexpr Opcode kOpcode = Opcode::Broadcast;
  using Table = fbs::BroadcastRequest;
  Bytes data;
  bool requires_ack = false;
  bool include_self = false;
};
struct AckBody {
  static constexpr Opcode kOpcode = Opcode::Ack;
  using Table = fbs::AckReply;
  std::uint64_t epoch = 0;
  std::uint64_t offset = 0;
  std::uint32_t delivered = 0;
  AckLevel level = AckLevel::accepted;
};
struct ErrorBody {
  static constexpr Opcode kOpcode = Opcode::Error;
  using Table = fbs::ErrorReply;
  ErrorCode code = ErrorCode::none;
  std::string_view text;
  Opcode failed_opcode = Opcode::None;
  std::uint32_t retry_after_ms = 0;
};
struct EventBody {
  static constexpr Opcode kOpcode = Opcode::Event;
  using Table = fbs::ChannelEvent;
  std::string_view channel;
  std::uint64_t epoch = 0;
  std::uint64_t offset = 0;
  Bytes data;
  Uuid publisher{};  // nil is left out
};
struct DirectMessageBody {
  static constexpr Opcode kOpcode = Opcode::DirectMessage;
  using Table = fbs::DirectEvent;
  Uuid from{};
  Bytes data;
};
struct BroadcastMessageBody {
  static constexpr Opcode kOpcode = Opcode::BroadcastMessage;
  using Table = fbs::BroadcastEvent;
  Uuid from{};
  Bytes data;
};
struct CacheGetBody {
  static constexpr Opcode kOpcode = Opcode::CacheGet;
  using Table = fbs::CacheGetRequest;
  std::string_view key;
  std::uint64_t if_newer_than = 0;
};
struct CacheGetReplyBody {
  static constexpr Opcode kOpcode = Opcode::CacheGetReply;
  using Table = fbs::CacheGetReply;
  std::uint64_t version = 0;
  std::uint64_t ttl_left_ms = 0;
  Bytes value;
  std::uint32_t flags = 0;
  ErrorCode code = ErrorCode::none;
};
struct CacheSetBody {
  static constexpr Opcode kOpcode = Opcode::CacheSet;
  using Table = fbs::CacheSetRequest;
  std::string_view key;
  Bytes value;
  std::uint64_t ttl_ms = 0;
  std::uint64_t version = 0;
  std::uint64_t lease = 0;
  CacheCondition condition = CacheCondition::always;
  bool sliding = false;
};
struct CacheSetReplyBody {
  static constexpr Opcode kOpcode = Opcode::CacheSetReply;
  using Table = fbs::CacheSetReply;
  std::uint64_t version = 0;
  ErrorCode code = ErrorCode::none;
};
struct CacheDeleteBody {
  static constexpr Opcode kOpcode = Opcode::CacheDelete;
  using Table = fbs::CacheDeleteRequest;
  std::string_view key;
  std::uint64_t version = 0;
};
struct CacheDeleteReplyBody {
  static constexpr Opcode kOpcode = Opcode::CacheDeleteReply;
  using Table = fbs::CacheDeleteReply;
  std::uint64_t version = 0;
  ErrorCode code = ErrorCode::none;
};
struct CacheMultiGetBody {
  static constexpr Opcode kOpcode = Opcode::CacheMultiGet;
  using Table = fbs::CacheMultiGetRequest;
  std::span<const std::string_view> keys;
};
struct CacheMultiGetReplyBody {
  static constexpr Opcode kOpcode = Opcode::CacheMultiGetReply;
  using Table = fbs::CacheMultiGetReply;
  std::span<const fbs::CacheResult> results;  // in the order of the request's keys
  Bytes values;
};
struct CacheScanBody {
  static constexpr Opcode kOpcode = Opcode::CacheScan;
  using Table = fbs::CacheScanRequest;
  std::string_view prefix;
  std::uint64_t cursor = 0;
  std::uint32_t count = 0;
};
struct CacheScanReplyBody {
  static constexpr Opcode kOpcode = Opcode::CacheScanReply;
  using Table = fbs::CacheScanReply;
  std::uint64_t cursor = 0;
  std::span<const std::string_view> keys;
  std::span<const fbs::CacheResult> results;  // in the order of the keys
};
struct CacheDeletePrefixBody {
  static constexpr Opcode kOpcode = Opcode::CacheDeletePrefix;
  using Table = fbs::CacheDeletePrefixRequest;
  std::string_view prefix;
  std::uint64_t cursor = 0;
};
struct CacheDeletePrefixReplyBody {
  static constexpr Opcode kOpcode = Opcode::CacheDeletePrefixReply;
  using Table = fbs::CacheDeletePrefixReply;
  std::uint64_t cursor = 0;
  std::uint64_t deleted = 0;
};
struct CacheTouchBody {
  static constexpr Opcode kOpcode = Opcode::CacheTouch;
  using Table = fbs::CacheTouchRequest;
  std::string_view key;
  std::uint64_t ttl_ms = 0;
  bool sliding = false;
};
struct CacheTouchReplyBody {
  static constexpr Opcode kOpcode = Opcode::CacheTouchReply;
  using Table = fbs::CacheTouchReply;
  std::uint64_t version = 0;
  ErrorCode code = ErrorCode::none;
};
struct CacheIncrementBody {
  static constexpr Opcode kOpcode = Opcode::CacheIncrement;
  using Table = fbs::CacheIncrementRequest;
  std::string_view key;
  std::int64_t by = 0;
  std::int64_t initial = 0;
  std::int64_t low = 0;
  std::int64_t high = 0;
  std::uint64_t ttl_ms = 0;
};
struct CacheIncrementReplyBody {
  static constexpr Opcode kOpcode = Opcode::CacheIncrementReply;
  using Table = fbs::CacheIncrementReply;
  std::uint64_t version = 0;
  std::int64_t value = 0;
  ErrorCode code = ErrorCode::none;
};
struct CacheAppendBody {
  static constexpr Opcode kOpcode = Opcode::CacheAppend;
  using Table = fbs::CacheAppendRequest;
  std::string_view key;
  Bytes data;
  std::uint64_t ttl_ms = 0;
};
struct CacheAppendReplyBody {
  static constexpr Opcode kOpcode = Opcode::CacheAppendReply;
  using Table = fbs::CacheAppendReply;
  std::uint64_t version = 0;
  ErrorCode code = ErrorCode::none;
};
struct CacheLeaseBody {
  static constexpr Opcode kOpcode = Opcode::CacheLease;
  using Table = fbs::CacheLeaseRequest;
  std::string_view key;
  std::uint32_t wait_ms = 0;
  std::uint32_t lease_ms = 0;
  std::uint32_t refresh_ms = 0;
};
struct CacheLeaseReplyBody {
  static constexpr Opcode kOpcode = Opcode::CacheLeaseReply;
  using Table = fbs::CacheLeaseReply;
  std::uint64_t version = 0;
  std::uint64_t ttl_left_ms = 0;
  Bytes value;
  std::uint64_t lease = 0;
  std::uint32_t flags = 0;
  ErrorCode code = ErrorCode::none;
};
struct CacheStatsBody {
  static constexpr Opcode kOpcode = Opcode::CacheStats;
  using Table = fbs::CacheStatsRequest;
};
struct CacheStatsReplyBody {
  static constexpr Opcode kOpcode = Opcode::CacheStatsReply;
  using Table = fbs::CacheStatsReply;
  std::uint64_t memory_used = 0;
  std::uint64_t memory_max = 0;
  std::span<const std::string_view> prefixes;
  std::span<const fbs::CacheCounts> counts;  // in the order of the prefixes
};
struct SetQuotaBody {
  static constexpr Opcode kOpcode = Opcode::SetQuota;
  using Table = fbs::SetQuotaRequest;
  fbs::QuotaScope scope = fbs::QuotaScope::session;
  Uuid session{};
  std::string_view key;
  std::span<const fbs::QuotaLimit> limits;
  bool use_defaults = false;
};
struct GetQuotaBody {
  static constexpr Opcode kOpcode = Opcode::GetQuota;
  using Table = fbs::GetQuotaRequest;
  fbs::QuotaScope scope = fbs::QuotaScope::session;
  Uuid session{};
  std::string_view key;
};
struct QuotaReplyBody {
  static constexpr Opcode kOpcode = Opcode::QuotaReply;
  using Table = fbs::QuotaReply;
  fbs::QuotaScope scope = fbs::QuotaScope::session;
  Uuid session{};
  std::string_view key;
  std::span<const fbs::QuotaLimit> limits;
  std::span<const fbs::QuotaUse> uses;  // the i-th one is that of the i-th limit
  bool permissive = false;
};
struct QuotaNoticeBody {
  static constexpr Opcode kOpcode = Opcode::QuotaNotice;
  using Table = fbs::QuotaEvent;
  fbs::QuotaScope scope = fbs::QuotaScope::session;
  fbs::QuotaMetric metric = fbs::QuotaMetric::requests;
  fbs::QuotaAction action = fbs::QuotaAction::warn;
  Opcode opcode = Opcode::None;
  fbs::QuotaClass opcode_class = fbs::QuotaClass::every;
  std::uint64_t tokens = 0;
  std::uint64_t period_ns = 0;
  std::uint64_t burst = 0;
  std::uint64_t wait_ns = 0;
};
// Any opcode with a payload that is ready made: custom handlers, tests of what the server must
// refuse.
struct RawBody {
  Opcode kOpcode =
      Opcode::None;  // named like the constant of the other bodies, which it stands in for
  Bytes payload;
};

// The bodies of tables: message.cpp instantiates write_frame() for each, tests go through all.
// clang-format off
#define PROTOCOL_BODIES(apply)      \
  apply(WhoAmIBody)                 \
  apply(WhoAmIReplyBody)            \
  apply(PingBody)                   \
  apply(PongBody)                   \
  apply(SubscribeBody)              \
  apply(SubscribeReplyBody)         \
  apply(UnsubscribeBody)            \
  apply(UnsubscribeReplyBody)       \
  apply(PublishBody)                \
  apply(SendBody)                   \
  apply(BroadcastBody)              \
  apply(AckBody)                    \
  apply(ErrorBody)                  \
  apply(EventBody)                  \
  apply(DirectMessageBody)          \
  apply(BroadcastMessageBody)       \
  apply(CacheGetBody)               \
  apply(CacheGetReplyBody)          \
  apply(CacheSetBody)               \
  apply(CacheSetReplyBody)          \
  apply(CacheDeleteBody)            \
  apply(CacheDeleteReplyBody)       \
  apply(CacheMultiGetBody)          \
  apply(CacheMultiGetReplyBody)     \
  apply(CacheScanBody)              \
  apply(CacheScanReplyBody)         \
  apply(CacheDeletePrefixBody)      \
  apply(CacheDeletePrefixReplyBody) \
  apply(CacheTouchBody)             \
  apply(CacheTouchReplyBody)        \
  apply(CacheIncrementBody)         \
  apply(CacheIncrementReplyBody)    \
  apply(CacheAppendBody)            \
  apply(CacheAppendReplyBody)       \
  apply(CacheLeaseBody)             \
  apply(CacheLeaseReplyBody)        \
  apply(CacheStatsBody)             \
  apply(CacheStatsReplyBody)        \
  apply(SetQuotaBody)               \
  apply(GetQuotaBody)               \
  apply(QuotaReplyBody)             \
  apply(QuotaNoticeBody)
// clang-format on

// Bytes that write_frame() will write, the 4 of the size included; exact.
template <class Body>
std::size_t frame_bytes(const MessageHeader& header, const Body& body) noexcept;

// Writes one frame at the start of out and returns its length; 0, with nothing written, if it does
// not fit in out or passes kBufferBytesMax. Padding is written as zeros: no byte of the frame is
// left as it was.
template <class Body>
std::size_t write_frame(std::span<std::byte> out, const MessageHeader& header,
                        const Body& body) noexcept;

// Writes one frame over all of out, which is frame_bytes(header, body) long and no longer than
// kBufferBytesMax: for callers that compute the length first to allocate the memory.
template <class Body>
void lay_frame(std::span<std::byte> out, const MessageHeader& header, const Body& body) noexcept;

// Appends one frame. Allocates only if the capacity does not suffice. Returns the frame's length;
// 0, with out unchanged, if it passes kBufferBytesMax. out.size() is best a multiple of 8 (see
// above).
template <class Body>
std::size_t append_frame(std::vector<std::byte>& out, const MessageHeader& header,
                         const Body& body) {
  const std::size_t start = out.size();
  out.resize(start + frame_bytes(header, body));
  const std::size_t written = write_frame(std::span(out).subspan(start), header, body);
  out.resize(start + written);
  return written;
}

// The frame of a CacheGetReply whose value lies elsewhere: the value is the last part of the frame,
// so the frame is this head, the value, and zeros up to a multiple of 8. `head_bytes` is the length
// of the head, a multiple of 8, and `whole_bytes` the length of the frame. write_value_head()
// writes the head over all of out; body.value is not used. The transaction id must not be nil.
struct ValueFrame {
  std::size_t head_bytes;
  std::size_t whole_bytes;
};
ValueFrame value_frame(const MessageHeader& header, std::size_t value_bytes) noexcept;
void write_value_head(std::span<std::byte> out, const MessageHeader& header,
                      const CacheGetReplyBody& body, std::size_t value_bytes) noexcept;

// The fields that differ between two events of one channel.
struct EventStamp {
  std::uint64_t timestamp = 0;  // nanoseconds since the epoch
  std::uint64_t offset = 0;
  Uuid publisher{};  // used only if the template was made with a publisher; nil is then sent as nil
};

// Events of one channel and epoch: everything before the data is laid out once, so that each event
// is one copy of that prefix, a few stores and one copy of the data. Writes the very bytes that
// write_frame() would write for an EventBody. Owned by the core that owns the channel; holds about
// 120 bytes and the name.
class EventTemplate {
 public:
  EventTemplate(std::string_view channel, std::uint64_t epoch, bool with_publisher);

  // Length of the frame for that much data, the 4 bytes of size included.
  std::size_t frame_bytes(std::size_t data_bytes) const noexcept;
  // As write_frame().
  std::size_t write(std::span<std::byte> out, const EventStamp& stamp, Bytes data) const noexcept;

 private:
  std::vector<std::byte> prefix_;  // from the frame's size to the length of the data, inclusive
  bool with_publisher_;
};

}  // namespace corelane::protocol
