#pragma once
// From bytes that a peer sent to values that may be used. Two steps:
//
//   verify_message()      the envelope: one table, read with unaligned loads where it lies, in
//                         constant time.
//   verify_payload<T>()   the payload, with FlatBuffers' verifier and its own budget, once; const
//                         after it.
//
// Alignment. FlatBuffers reads numbers through pointers and its verifier checks offsets, not
// addresses, so that a payload needs an address that suits its type: 4 for requests, 8 for types
// with 64-bit fields. At another address verify_payload() copies it to the caller's scratch. A
// receive path that writes the bytes anyway (unmasking) saves the copy by placing the frame at a
// multiple of 8: builders that follow the FlatBuffers convention, ours among them, align every
// field to the start of the frame.
//
// Cost. At most 20 us for any message of up to 64 KiB to a built-in, whatever it contains: depth
// and number of tables are bounded (VerifyLimits), and so is the number of strings in a list of
// channels, which the verifier alone would not count (16,000 offsets to one string fit in 64 KiB).
//
// Not checked here: that text is UTF-8, that a channel name is well formed, that an enumerator has
// a name.

#include <flatbuffers/flatbuffers.h>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "protocol/assert.hpp"
#include "protocol/bytes.hpp"
#include "protocol/frame.hpp"
#include "protocol/opcode.hpp"
#include "protocol/uuid.hpp"

namespace corelane::protocol {

// Subscriptions a session may hold (design limit); one request can name all of them.
inline constexpr std::uint32_t kChannelsPerRequestMax = 1000;

// The envelope. Absent fields read as zero, nil and empty. payload points into the verified bytes.
struct MessageView {
  Opcode opcode = Opcode::None;
  std::uint64_t timestamp = 0;  // nanoseconds since the epoch, by the sender's clock
  std::uint64_t span_id = 0;
  Uuid transaction_id{};
  Uuid trace_id{};
  std::span<const std::byte> payload;
};

struct VerifiedMessage {
  bool ok = false;  // false: ErrorCode::malformed_message, and view is empty
  MessageView view;
};

// message is a frame without its size, at any address. Accepts what FlatBuffers' verifier accepts,
// and does not ask for alignment: some builders align to the start of the Message, others to that
// of the frame 4 bytes before it, and unaligned loads take both.
VerifiedMessage verify_message(std::span<const std::byte> message) noexcept;

namespace detail {

// The two paths of verify_message(), for tests. verify_usual() is the fast path: its first bytes
// identify a message in the layout of write_frame() for requests and replies. False leaves `view`
// empty and means that verify_any() must decide; it reads the same from usual messages.
bool verify_usual(std::span<const std::byte> message, MessageView& view) noexcept;
VerifiedMessage verify_any(std::span<const std::byte> message) noexcept;

}  // namespace detail

struct VerifyLimits {
  std::uint32_t depth_max;
  std::uint32_t tables_max;
};

// Depth 8; 64 tables and one more for each 64 bytes. The verifier counts a shared table at each
// visit, so that with its own defaults 372 bytes of tables which point at each other cost it 6 ms.
constexpr VerifyLimits verify_limits(std::size_t payload_bytes) noexcept {
  return {.depth_max = 8, .tables_max = 64 + static_cast<std::uint32_t>(payload_bytes / 64)};
}

// Memory for payloads that lie at an unsuitable address. One a core; keeps the largest size it has
// seen, so that steady state does not allocate.
class AlignedScratch {
 public:
  // Returns bytes itself where its address suits, otherwise a copy that is valid until the next
  // call. alignment is a power of two, at most 16.
  std::span<const std::byte> aligned(std::span<const std::byte> bytes, std::size_t alignment) {
    PROTOCOL_DEBUG_ASSERT(alignment <= alignof(Block));
    return is_aligned(bytes.data(), alignment) ? bytes : copy(bytes);
  }
  std::size_t capacity_bytes() const noexcept { return capacity_bytes_; }

 private:
  std::span<const std::byte> copy(std::span<const std::byte> bytes);

  struct alignas(16) Block {
    std::byte bytes[16];
  };
  std::unique_ptr<Block[]> blocks_;
  std::size_t capacity_bytes_ = 0;
};

// The address that the accessors of T need: that of its widest field. Types without 64-bit fields
// say 4, so that a payload in a frame at a multiple of 4 is never copied.
template <class T>
inline constexpr std::size_t kPayloadAlignment = 8;
template <>
inline constexpr std::size_t kPayloadAlignment<fbs::WhoAmIRequest> = 4;
template <>
inline constexpr std::size_t kPayloadAlignment<fbs::PingRequest> = 4;
template <>
inline constexpr std::size_t kPayloadAlignment<fbs::SubscribeRequest> = 4;
template <>
inline constexpr std::size_t kPayloadAlignment<fbs::UnsubscribeRequest> = 4;
template <>
inline constexpr std::size_t kPayloadAlignment<fbs::PublishRequest> = 4;
template <>
inline constexpr std::size_t kPayloadAlignment<fbs::SendRequest> = 4;
template <>
inline constexpr std::size_t kPayloadAlignment<fbs::BroadcastRequest> = 4;
template <>
inline constexpr std::size_t kPayloadAlignment<fbs::CacheMultiGetRequest> = 4;
template <>
inline constexpr std::size_t kPayloadAlignment<fbs::CacheLeaseRequest> = 4;
template <>
inline constexpr std::size_t kPayloadAlignment<fbs::CacheStatsRequest> = 4;
template <>
inline constexpr std::size_t kPayloadAlignment<fbs::NodeMetricsRequest> = 4;
template <>
inline constexpr std::size_t kPayloadAlignment<fbs::DashboardMetricsRequest> = 4;
template <>
inline constexpr std::size_t kPayloadAlignment<fbs::GetQuotaRequest> = 4;
template <>
inline constexpr std::size_t kPayloadAlignment<fbs::WhoAmIReply> = 4;
template <>
inline constexpr std::size_t kPayloadAlignment<fbs::ErrorReply> = 4;
template <>
inline constexpr std::size_t kPayloadAlignment<fbs::DirectEvent> = 4;
template <>
inline constexpr std::size_t kPayloadAlignment<fbs::BroadcastEvent> = 4;

// table is null unless code is none. It points into the payload, or into the scratch if that was
// used.
template <class T>
struct VerifiedPayload {
  const T* table = nullptr;
  ErrorCode code = ErrorCode::malformed_payload;

  explicit operator bool() const noexcept { return table != nullptr; }
  const T* operator->() const noexcept { return table; }
};

namespace detail {

// An empty table, which is what an absent payload stands for.
extern const std::span<const std::byte> kEmptyPayload;

bool payload_size_fits(std::size_t payload_bytes) noexcept;

// Checks that the verifier does not make, after it (none) or before it (the length of a channel
// list).
ErrorCode check_channel_list(flatbuffers::Verifier& verifier, std::span<const std::byte> payload);
// The verifier does not check it for elements of a vector.
template <class Struct>
bool are_aligned(const flatbuffers::Vector<const Struct*>* items) noexcept {
  return items == nullptr || is_aligned(items->Data(), alignof(Struct));
}

template <class T>
concept ChannelList =
    std::same_as<T, fbs::SubscribeRequest> || std::same_as<T, fbs::UnsubscribeRequest> ||
    std::same_as<T, fbs::CacheMultiGetRequest>;
template <class T>
concept ResultList = requires(const T& table) { table.results(); };
template <class T>
concept CountList = requires(const T& table) { table.counts(); };
template <class T>
concept QuotaList = std::same_as<T, fbs::SetQuotaRequest> || std::same_as<T, fbs::QuotaReply>;

}  // namespace detail

// Errors: malformed_payload; too_many_channels for a list of more than kChannelsPerRequestMax. An
// empty payload is an empty table, and so in order for types that require no field. T may also be a
// type of the application with kPayloadAlignment 8; lists of strings in it are not counted, so
// check their length.
template <class T>
VerifiedPayload<T> verify_payload(std::span<const std::byte> payload, AlignedScratch& scratch) {
  if (payload.empty()) payload = detail::kEmptyPayload;
  if (!detail::payload_size_fits(payload.size())) return {};
  payload = scratch.aligned(payload, kPayloadAlignment<T>);
  PROTOCOL_DEBUG_ASSERT(is_aligned(payload.data(), kPayloadAlignment<T>));
  const auto* const data = reinterpret_cast<const std::uint8_t*>(payload.data());
  const VerifyLimits limits = verify_limits(payload.size());
  flatbuffers::Verifier verifier(data, payload.size(), limits.depth_max, limits.tables_max);
  if constexpr (detail::ChannelList<T>) {
    const ErrorCode code = detail::check_channel_list(verifier, payload);
    if (code != ErrorCode::none) return {.table = nullptr, .code = code};
  } else {
    if (!verifier.VerifyBuffer<T>(nullptr)) return {};
  }
  const T* const table = flatbuffers::GetRoot<T>(data);
  if constexpr (detail::ResultList<T>) {
    if (!detail::are_aligned(table->results())) return {};
  }
  if constexpr (detail::QuotaList<T>) {
    if (!detail::are_aligned(table->limits())) return {};
  }
  if constexpr (std::same_as<T, fbs::QuotaReply>) {
    if (!detail::are_aligned(table->uses())) return {};
  }
  if constexpr (detail::CountList<T>) {
    if (!detail::are_aligned(table->counts())) return {};
  }
  return {.table = table, .code = ErrorCode::none};
}

// Bytes of a [ubyte] field; an absent field is empty.
inline std::span<const std::byte> bytes_of(
    const flatbuffers::Vector<std::uint8_t>* field) noexcept {
  if (field == nullptr) return {};
  return {reinterpret_cast<const std::byte*>(field->data()), field->size()};
}

// Text of a string field; an absent field is empty.
inline std::string_view text_of(const flatbuffers::String* field) noexcept {
  return field == nullptr ? std::string_view{} : field->string_view();
}

}  // namespace corelane::protocol
