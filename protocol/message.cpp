#include "protocol/message.hpp"

#include "protocol/assert.hpp"
#include "protocol/frame.hpp"
#include "protocol/layout.hpp"

namespace corelane::protocol {
namespace {

using layout::Table;
using layout::Writer;

template <bool kStore>
void lay_payload(Writer<kStore>& out, const WhoAmIBody&) noexcept {
  Table<kStore>(out, 0).close();
}

template <bool kStore>
void lay_payload(Writer<kStore>& out, const WhoAmIReplyBody& body) noexcept {
  using T = fbs::WhoAmIReply;
  Table<kStore> table(out, T::VT_SUBSCRIPTIONS_MAX);
  const std::size_t remote_address = table.add_offset(T::VT_REMOTE_ADDRESS);
  const std::size_t node = table.add_offset(T::VT_NODE);
  const std::size_t server_version = table.add_offset(T::VT_SERVER_VERSION);
  table.add(T::VT_FRAME_BYTES_MAX, body.frame_bytes_max);
  table.add(T::VT_SUBSCRIPTIONS_MAX, body.subscriptions_max);
  table.add(T::VT_SESSION, body.session);
  table.add(T::VT_CORE, body.core);
  table.add(T::VT_TRANSPORT, static_cast<std::uint8_t>(body.transport));
  table.close();
  out.string(remote_address, body.remote_address);
  out.string(node, body.node);
  out.string(server_version, body.server_version);
}

template <bool kStore>
void lay_payload(Writer<kStore>& out, const PingBody& body) noexcept {
  Table<kStore> table(out, fbs::PingRequest::VT_DATA);
  const std::size_t data = table.add_offset(fbs::PingRequest::VT_DATA);
  table.close();
  out.bytes(data, body.data);
}

template <bool kStore>
void lay_payload(Writer<kStore>& out, const PongBody& body) noexcept {
  Table<kStore> table(out, fbs::PongReply::VT_SERVER_TIME);
  table.add(fbs::PongReply::VT_SERVER_TIME, body.server_time);
  const std::size_t data = table.add_offset(fbs::PongReply::VT_DATA);
  table.close();
  out.bytes(data, body.data);
}

template <bool kStore>
void lay_channels(Writer<kStore>& out, std::span<const std::string_view> channels) noexcept {
  static_assert(+fbs::SubscribeRequest::VT_CHANNELS == +fbs::UnsubscribeRequest::VT_CHANNELS);
  Table<kStore> table(out, fbs::SubscribeRequest::VT_CHANNELS);
  const std::size_t slot = table.add_offset(fbs::SubscribeRequest::VT_CHANNELS);
  table.close();
  out.strings(slot, channels);
}

template <bool kStore>
void lay_results(Writer<kStore>& out, std::span<const fbs::ChannelResult> results) noexcept {
  static_assert(+fbs::SubscribeReply::VT_RESULTS == +fbs::UnsubscribeReply::VT_RESULTS);
  Table<kStore> table(out, fbs::SubscribeReply::VT_RESULTS);
  const std::size_t slot = table.add_offset(fbs::SubscribeReply::VT_RESULTS);
  table.close();
  out.structs(slot, results);
}

template <bool kStore>
void lay_payload(Writer<kStore>& out, const SubscribeBody& body) noexcept {
  lay_channels(out, body.channels);
}
template <bool kStore>
void lay_payload(Writer<kStore>& out, const UnsubscribeBody& body) noexcept {
  lay_channels(out, body.channels);
}
template <bool kStore>
void lay_payload(Writer<kStore>& out, const SubscribeReplyBody& body) noexcept {
  lay_results(out, body.results);
}
template <bool kStore>
void lay_payload(Writer<kStore>& out, const UnsubscribeReplyBody& body) noexcept {
  lay_results(out, body.results);
}

template <bool kStore>
void lay_payload(Writer<kStore>& out, const PublishBody& body) noexcept {
  using T = fbs::PublishRequest;
  Table<kStore> table(out, T::VT_REQUIRES_ACK);
  const std::size_t channel = table.add_offset(T::VT_CHANNEL);
  const std::size_t data = table.add_offset(T::VT_DATA);
  table.add(T::VT_REQUIRES_ACK, std::uint8_t{body.requires_ack});
  table.close();
  out.string(channel, body.channel);
  out.bytes(data, body.data);
}

template <bool kStore>
void lay_payload(Writer<kStore>& out, const SendBody& body) noexcept {
  using T = fbs::SendRequest;
  Table<kStore> table(out, T::VT_REQUIRES_ACK);
  const std::size_t data = table.add_offset(T::VT_DATA);
  table.add(T::VT_SESSION, body.session);
  table.add(T::VT_REQUIRES_ACK, std::uint8_t{body.requires_ack});
  table.close();
  out.bytes(data, body.data);
}

template <bool kStore>
void lay_payload(Writer<kStore>& out, const BroadcastBody& body) noexcept {
  using T = fbs::BroadcastRequest;
  Table<kStore> table(out, T::VT_INCLUDE_SELF);
  const std::size_t data = table.add_offset(T::VT_DATA);
  table.add(T::VT_REQUIRES_ACK, std::uint8_t{body.requires_ack});
  table.add(T::VT_INCLUDE_SELF, std::uint8_t{body.include_self});
  table.close();
  out.bytes(data, body.data);
}

template <bool kStore>
void lay_payload(Writer<kStore>& out, const AckBody& body) noexcept {
  using T = fbs::AckReply;
  Table<kStore> table(out, T::VT_LEVEL);
  table.add(T::VT_EPOCH, body.epoch);
  table.add(T::VT_OFFSET, body.offset);
  table.add(T::VT_DELIVERED, body.delivered);
  table.add(T::VT_LEVEL, static_cast<std::uint8_t>(body.level));
  table.close();
}

template <bool kStore>
void lay_payload(Writer<kStore>& out, const ErrorBody& body) noexcept {
  using T = fbs::ErrorReply;
  Table<kStore> table(out, T::VT_RETRY_AFTER_MS);
  const std::size_t text = table.add_offset(T::VT_TEXT);
  table.add(T::VT_RETRY_AFTER_MS, body.retry_after_ms);
  table.add(T::VT_CODE, static_cast<std::uint16_t>(body.code));
  table.add(T::VT_FAILED_OPCODE, static_cast<std::uint16_t>(body.failed_opcode));
  table.close();
  out.string(text, body.text);
}

// Positions of what EventTemplate patches, from the start of a frame without transaction and trace.
// The tests compare its frames byte by byte with those of write_frame(), which knows nothing of
// these numbers.
constexpr std::size_t kEventTimestampAt = 24;
constexpr std::size_t kEventPayloadBytesAt = 44;
constexpr std::size_t kEventPayloadAt = 48;
constexpr std::size_t kEventOffsetAt = kEventPayloadAt + 32;
constexpr std::size_t kEventPublisherAt = kEventPayloadAt + 48;

template <bool kStore>
void lay_event(Writer<kStore>& out, const EventBody& body, bool with_publisher) noexcept {
  using T = fbs::ChannelEvent;
  Table<kStore> table(out, with_publisher ? T::VT_PUBLISHER : T::VT_DATA);
  table.add(T::VT_EPOCH, body.epoch);
  table.add(T::VT_OFFSET, body.offset);
  const std::size_t channel = table.add_offset(T::VT_CHANNEL);
  const std::size_t data = table.add_offset(T::VT_DATA);
  if (with_publisher) table.add(T::VT_PUBLISHER, body.publisher);
  table.close();
  out.string(channel, body.channel);
  out.bytes(data, body.data);
}

template <bool kStore>
void lay_payload(Writer<kStore>& out, const EventBody& body) noexcept {
  lay_event(out, body, !body.publisher.is_nil());
}

template <bool kStore>
void lay_delivery(Writer<kStore>& out, const Uuid& from, Bytes bytes) noexcept {
  using T = fbs::DirectEvent;
  static_assert(+T::VT_FROM == +fbs::BroadcastEvent::VT_FROM);
  static_assert(+T::VT_DATA == +fbs::BroadcastEvent::VT_DATA);
  Table<kStore> table(out, T::VT_DATA);
  const std::size_t data = table.add_offset(T::VT_DATA);
  table.add(T::VT_FROM, from);
  table.close();
  out.bytes(data, bytes);
}

template <bool kStore>
void lay_payload(Writer<kStore>& out, const DirectMessageBody& body) noexcept {
  lay_delivery(out, body.from, body.data);
}
template <bool kStore>
void lay_payload(Writer<kStore>& out, const BroadcastMessageBody& body) noexcept {
  lay_delivery(out, body.from, body.data);
}
template <bool kStore>
void lay_payload(Writer<kStore>& out, const RawBody& body) noexcept {
  out.append_bytes(body.payload.data(), body.payload.size());
}

// Which of its optional fields a frame carries.
struct Carries {
  bool transaction_id;
  bool trace;
};

template <bool kStore, class Lay>
[[gnu::always_inline]] inline std::size_t lay_envelope(std::byte* base, const MessageHeader& header,
                                                       Opcode opcode, Carries carries,
                                                       const Lay& lay) noexcept {
  using T = fbs::Message;
  Writer<kStore> out(base);
  out.append(std::uint32_t{0});
  Table<kStore> message(out, carries.trace ? T::VT_SPAN_ID : T::VT_TIMESTAMP);
  message.add(T::VT_TIMESTAMP, header.timestamp);
  if (carries.trace) message.add(T::VT_SPAN_ID, header.span_id);
  const std::size_t payload = message.add_offset(T::VT_PAYLOAD);
  if (carries.transaction_id) message.add(T::VT_TRANSACTION_ID, header.transaction_id);
  if (carries.trace) message.add(T::VT_TRACE_ID, header.trace_id);
  message.add(T::VT_OPCODE, number(opcode));
  message.close();
  // The payload starts at a multiple of 8, right behind its length.
  out.align(8, sizeof(std::uint32_t));
  const std::size_t payload_bytes_at = out.at();
  out.begin_vector(payload, 0);
  const std::size_t payload_at = out.at();
  lay(out);
  out.set(payload_bytes_at, static_cast<std::uint32_t>(out.at() - payload_at));
  PROTOCOL_DEBUG_ASSERT(payload_at % 8 == 0);
  out.skip_to(8);
  out.set(0, static_cast<std::uint32_t>(out.at() - kFrameSizeBytes));
  return out.at();
}

// The envelope around a payload that lay(writer) writes. Returns the length of the frame; what pads
// it to that has been written before. Each form is laid by code of its own, in which its fields are
// where they always are.
template <bool kStore, class Lay>
std::size_t lay_whole(std::byte* base, const MessageHeader& header, Opcode opcode,
                      const Lay& lay) noexcept {
  const bool traced = header.span_id != 0 || !header.trace_id.is_nil();
  const bool named = !header.transaction_id.is_nil();
  if (traced) {
    return lay_envelope<kStore>(base, header, opcode, {named, true}, lay);
  }
  if (named) return lay_envelope<kStore>(base, header, opcode, {true, false}, lay);
  return lay_envelope<kStore>(base, header, opcode, {false, false}, lay);
}

template <bool kStore, class Body>
std::size_t lay_body(std::byte* base, const MessageHeader& header, const Body& body) noexcept {
  return lay_whole<kStore>(base, header, body.kOpcode,
                           [&body](Writer<kStore>& out) { lay_payload(out, body); });
}

}  // namespace

template <class Body>
std::size_t frame_bytes(const MessageHeader& header, const Body& body) noexcept {
  return lay_body<false>(nullptr, header, body);
}

template <class Body>
std::size_t write_frame(std::span<std::byte> out, const MessageHeader& header,
                        const Body& body) noexcept {
  const std::size_t bytes = frame_bytes(header, body);
  PROTOCOL_DEBUG_ASSERT(bytes % 8 == 0);
  if (bytes > out.size() || bytes > kBufferBytesMax) return 0;
  lay_frame(out.first(bytes), header, body);
  return bytes;
}

template <class Body>
void lay_frame(std::span<std::byte> out, const MessageHeader& header, const Body& body) noexcept {
  PROTOCOL_DEBUG_ASSERT(out.size() == frame_bytes(header, body));  // before anything is overwritten
  PROTOCOL_DEBUG_ASSERT(out.size() <= kBufferBytesMax);
  // The padding at the end; what is laid overwrites the rest of it.
  store(out.data() + out.size() - 8, std::uint64_t{0});
  const std::size_t laid = lay_body<true>(out.data(), header, body);
  // Three instructions a frame, so that a wrong length does not go on with what lay behind it.
  PROTOCOL_ASSERT(laid == out.size());
}

#define PROTOCOL_INSTANTIATE(Body)                                                           \
  template void lay_frame(std::span<std::byte>, const MessageHeader&, const Body&) noexcept; \
  template std::size_t frame_bytes(const MessageHeader&, const Body&) noexcept;              \
  template std::size_t write_frame(std::span<std::byte>, const MessageHeader&, const Body&) noexcept

PROTOCOL_INSTANTIATE(WhoAmIBody);
PROTOCOL_INSTANTIATE(WhoAmIReplyBody);
PROTOCOL_INSTANTIATE(PingBody);
PROTOCOL_INSTANTIATE(PongBody);
PROTOCOL_INSTANTIATE(SubscribeBody);
PROTOCOL_INSTANTIATE(SubscribeReplyBody);
PROTOCOL_INSTANTIATE(UnsubscribeBody);
PROTOCOL_INSTANTIATE(UnsubscribeReplyBody);
PROTOCOL_INSTANTIATE(PublishBody);
PROTOCOL_INSTANTIATE(SendBody);
PROTOCOL_INSTANTIATE(BroadcastBody);
PROTOCOL_INSTANTIATE(AckBody);
PROTOCOL_INSTANTIATE(ErrorBody);
PROTOCOL_INSTANTIATE(EventBody);
PROTOCOL_INSTANTIATE(DirectMessageBody);
PROTOCOL_INSTANTIATE(BroadcastMessageBody);
PROTOCOL_INSTANTIATE(RawBody);
#undef PROTOCOL_INSTANTIATE

EventTemplate::EventTemplate(std::string_view channel, std::uint64_t epoch, bool with_publisher)
    : with_publisher_(with_publisher) {
  const EventBody body{.channel = channel, .epoch = epoch, .data = {}};
  const auto lay = [&]<bool kStore>(Writer<kStore>& out) { lay_event(out, body, with_publisher); };
  prefix_.resize(lay_whole<false>(nullptr, {}, Opcode::Event, lay));
  lay_whole<true>(prefix_.data(), {}, Opcode::Event, lay);
  PROTOCOL_ASSERT(load<std::uint64_t>(&prefix_[kEventOffsetAt]) == body.offset);
  PROTOCOL_ASSERT(load<std::uint64_t>(&prefix_[kEventOffsetAt - 8]) == epoch);
  // What follows the length of the (empty) data is the padding of the frame.
  prefix_.resize(kEventPayloadAt + load<std::uint32_t>(&prefix_[kEventPayloadBytesAt]));
}

std::size_t EventTemplate::frame_bytes(std::size_t data_bytes) const noexcept {
  PROTOCOL_DEBUG_ASSERT(prefix_.size() > kEventOffsetAt);
  return align_up(prefix_.size() + data_bytes, 8);
}

std::size_t EventTemplate::write(std::span<std::byte> out, const EventStamp& stamp,
                                 Bytes data) const noexcept {
  const std::size_t bytes = frame_bytes(data.size());
  if (bytes > out.size() || bytes > kBufferBytesMax) return 0;
  std::byte* const frame = out.data();
  const std::size_t data_at = prefix_.size();
  store(frame + bytes - 8, std::uint64_t{0});  // the padding; the data overwrites the rest of it
  std::memcpy(frame, prefix_.data(), data_at);
  if (!data.empty()) std::memcpy(frame + data_at, data.data(), data.size());
  store(frame, static_cast<std::uint32_t>(bytes - kFrameSizeBytes));
  store(frame + kEventTimestampAt, stamp.timestamp);
  const std::size_t payload_end = align_up(data_at + data.size(), sizeof(std::uint32_t));
  PROTOCOL_DEBUG_ASSERT(payload_end <= bytes);
  PROTOCOL_DEBUG_ASSERT(bytes % 8 == 0);
  store(frame + kEventPayloadBytesAt, static_cast<std::uint32_t>(payload_end - kEventPayloadAt));
  store(frame + kEventOffsetAt, stamp.offset);
  if (with_publisher_) {
    std::memcpy(frame + kEventPublisherAt, stamp.publisher.data, sizeof stamp.publisher.data);
  }
  store(frame + data_at - sizeof(std::uint32_t), static_cast<std::uint32_t>(data.size()));
  return bytes;
}

}  // namespace corelane::protocol
