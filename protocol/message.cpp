#include "protocol/message.hpp"

#include "protocol/assert.hpp"
#include "protocol/frame.hpp"
#include "protocol/lay.hpp"
#include "protocol/usual.hpp"

namespace corelane::protocol {
namespace {

using layout::Writer;

// Where EventTemplate patches a frame, from its start: one without transaction and trace.
constexpr auto kMessage =
    layout::laid_message_of<layout::Carries{.transaction_id = false, .trace = false}>();
constexpr auto kEvent = layout::laid<layout::LayEvent<true>>();
static_assert(kEvent.at(fbs::ChannelEvent::VT_OFFSET) ==
              layout::laid<layout::LayEvent<false>>().at(fbs::ChannelEvent::VT_OFFSET));
constexpr std::size_t kEventTimestampAt = kFrameSizeBytes + kMessage.at(fbs::Message::VT_TIMESTAMP);
constexpr std::size_t kEventPayloadBytesAt =
    kFrameSizeBytes + kMessage.target(fbs::Message::VT_PAYLOAD);
constexpr std::size_t kEventPayloadAt = kEventPayloadBytesAt + sizeof(std::uint32_t);
constexpr std::size_t kEventOffsetAt = kEventPayloadAt + kEvent.at(fbs::ChannelEvent::VT_OFFSET);
constexpr std::size_t kEventPublisherAt =
    kEventPayloadAt + kEvent.at(fbs::ChannelEvent::VT_PUBLISHER);

// Lays the envelope around a payload that lay(writer) writes. Returns the length of the frame; the
// caller has written the padding at its end. Each form of the envelope has separate code, in which
// every field is at a constant position.
template <bool kStore, class Lay>
std::size_t lay_whole(std::byte* base, const MessageHeader& header, Opcode opcode,
                      const Lay& lay) noexcept {
  const bool traced = header.span_id != 0 || !header.trace_id.is_nil();
  const bool named = !header.transaction_id.is_nil();
  if (traced) {
    return layout::lay_envelope<kStore>(base, header, opcode, {named, true}, lay);
  }
  if (named) return layout::lay_envelope<kStore>(base, header, opcode, {true, false}, lay);
  return layout::lay_envelope<kStore>(base, header, opcode, {false, false}, lay);
}

template <bool kStore, class Body>
std::size_t lay_body(std::byte* base, const MessageHeader& header, const Body& body) noexcept {
  return lay_whole<kStore>(base, header, body.kOpcode,
                           [&body](Writer<kStore>& out) { layout::lay_payload(out, body); });
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
  // Clears the padding at the end; the body overwrites the rest of these bytes.
  store(out.data() + out.size() - 8, std::uint64_t{0});
  const std::size_t laid = lay_body<true>(out.data(), header, body);
  // Three instructions a frame: with a wrong length, bytes behind the frame would be sent.
  PROTOCOL_ASSERT(laid == out.size());
}

#define PROTOCOL_INSTANTIATE(Body)                                                           \
  template void lay_frame(std::span<std::byte>, const MessageHeader&, const Body&) noexcept; \
  template std::size_t frame_bytes(const MessageHeader&, const Body&) noexcept;              \
  template std::size_t write_frame(std::span<std::byte>, const MessageHeader&,               \
                                   const Body&) noexcept;

PROTOCOL_BODIES(PROTOCOL_INSTANTIATE)
PROTOCOL_INSTANTIATE(RawBody)
#undef PROTOCOL_INSTANTIATE

namespace {

// A CacheGetReply without a value: what stands ahead of any value.
constexpr std::size_t kValueHeadBytes = layout::laid_bytes<layout::LayBody<CacheGetReplyBody>>();
static_assert(kValueHeadBytes % 8 == 0, "a value in a block of its own is padded to 8 there");

}  // namespace

ValueFrame value_frame(const MessageHeader& header, std::size_t value_bytes) noexcept {
  const std::size_t head = frame_bytes(header, CacheGetReplyBody{});
  return {.head_bytes = head, .whole_bytes = head + align_up(value_bytes, 8)};
}

void write_value_head(std::span<std::byte> out, const MessageHeader& header,
                      const CacheGetReplyBody& body, std::size_t value_bytes) noexcept {
  CacheGetReplyBody without = body;
  without.value = {};
  lay_frame(out, header, without);
  std::byte* const end = out.data() + out.size();
  const std::size_t payload_bytes = kValueHeadBytes + align_up(value_bytes, sizeof(std::uint32_t));
  const std::size_t whole_bytes = out.size() + align_up(value_bytes, 8);
  PROTOCOL_DEBUG_ASSERT(whole_bytes <= kBufferBytesMax);
  PROTOCOL_DEBUG_ASSERT(load<std::uint32_t>(end - kValueHeadBytes - 4) == kValueHeadBytes);
  store(out.data(), static_cast<std::uint32_t>(whole_bytes - kFrameSizeBytes));
  store(end - kValueHeadBytes - sizeof(std::uint32_t), static_cast<std::uint32_t>(payload_bytes));
  store(end - sizeof(std::uint32_t), static_cast<std::uint32_t>(value_bytes));
}

EventTemplate::EventTemplate(std::string_view channel, std::uint64_t epoch, bool with_publisher)
    : with_publisher_(with_publisher) {
  const EventBody body{.channel = channel, .epoch = epoch, .data = {}};
  const auto lay = [&]<bool kStore>(Writer<kStore>& out) {
    layout::lay_event(out, body, with_publisher);
  };
  prefix_.resize(lay_whole<false>(nullptr, {}, Opcode::Event, lay));
  lay_whole<true>(prefix_.data(), {}, Opcode::Event, lay);
  PROTOCOL_ASSERT(load<std::uint64_t>(&prefix_[kEventOffsetAt]) == body.offset);
  PROTOCOL_ASSERT(load<std::uint64_t>(&prefix_[kEventOffsetAt - 8]) == epoch);
  // Bytes behind the length of the (empty) data are the padding of the frame.
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
