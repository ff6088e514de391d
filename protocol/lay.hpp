#pragma once
// How each body is laid, private to this folder: the one description of the frames that we build.
// message.cpp writes them with it, and usual.hpp has the compiler lay those that are recognized.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "protocol/assert.hpp"
#include "protocol/frame.hpp"
#include "protocol/layout.hpp"
#include "protocol/message.hpp"

namespace corelane::protocol::layout {

template <bool kStore>
[[gnu::always_inline]] constexpr void lay_payload(Writer<kStore>& out, const WhoAmIBody&) noexcept {
  Table<kStore>(out, 0).close();
}

template <bool kStore>
[[gnu::always_inline]] constexpr void lay_payload(Writer<kStore>& out,
                                                  const WhoAmIReplyBody& body) noexcept {
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
[[gnu::always_inline]] constexpr void lay_payload(Writer<kStore>& out,
                                                  const PingBody& body) noexcept {
  Table<kStore> table(out, fbs::PingRequest::VT_DATA);
  const std::size_t data = table.add_offset(fbs::PingRequest::VT_DATA);
  table.close();
  out.bytes(data, body.data);
}

template <bool kStore>
[[gnu::always_inline]] constexpr void lay_payload(Writer<kStore>& out,
                                                  const PongBody& body) noexcept {
  Table<kStore> table(out, fbs::PongReply::VT_SERVER_TIME);
  table.add(fbs::PongReply::VT_SERVER_TIME, body.server_time);
  const std::size_t data = table.add_offset(fbs::PongReply::VT_DATA);
  table.close();
  out.bytes(data, body.data);
}

template <bool kStore>
[[gnu::always_inline]] constexpr void lay_channels(
    Writer<kStore>& out, std::span<const std::string_view> channels) noexcept {
  static_assert(+fbs::SubscribeRequest::VT_CHANNELS == +fbs::UnsubscribeRequest::VT_CHANNELS);
  Table<kStore> table(out, fbs::SubscribeRequest::VT_CHANNELS);
  const std::size_t slot = table.add_offset(fbs::SubscribeRequest::VT_CHANNELS);
  table.close();
  out.strings(slot, channels);
}

template <bool kStore>
[[gnu::always_inline]] constexpr void lay_results(
    Writer<kStore>& out, std::span<const fbs::ChannelResult> results) noexcept {
  static_assert(+fbs::SubscribeReply::VT_RESULTS == +fbs::UnsubscribeReply::VT_RESULTS);
  Table<kStore> table(out, fbs::SubscribeReply::VT_RESULTS);
  const std::size_t slot = table.add_offset(fbs::SubscribeReply::VT_RESULTS);
  table.close();
  out.structs(slot, results);
}

template <bool kStore>
[[gnu::always_inline]] constexpr void lay_payload(Writer<kStore>& out,
                                                  const SubscribeBody& body) noexcept {
  lay_channels(out, body.channels);
}
template <bool kStore>
[[gnu::always_inline]] constexpr void lay_payload(Writer<kStore>& out,
                                                  const UnsubscribeBody& body) noexcept {
  lay_channels(out, body.channels);
}
template <bool kStore>
[[gnu::always_inline]] constexpr void lay_payload(Writer<kStore>& out,
                                                  const SubscribeReplyBody& body) noexcept {
  lay_results(out, body.results);
}
template <bool kStore>
[[gnu::always_inline]] constexpr void lay_payload(Writer<kStore>& out,
                                                  const UnsubscribeReplyBody& body) noexcept {
  lay_results(out, body.results);
}

template <bool kStore>
[[gnu::always_inline]] constexpr void lay_payload(Writer<kStore>& out,
                                                  const PublishBody& body) noexcept {
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
[[gnu::always_inline]] constexpr void lay_payload(Writer<kStore>& out,
                                                  const SendBody& body) noexcept {
  using T = fbs::SendRequest;
  Table<kStore> table(out, T::VT_REQUIRES_ACK);
  const std::size_t data = table.add_offset(T::VT_DATA);
  table.add(T::VT_SESSION, body.session);
  table.add(T::VT_REQUIRES_ACK, std::uint8_t{body.requires_ack});
  table.close();
  out.bytes(data, body.data);
}

template <bool kStore>
[[gnu::always_inline]] constexpr void lay_payload(Writer<kStore>& out,
                                                  const BroadcastBody& body) noexcept {
  using T = fbs::BroadcastRequest;
  Table<kStore> table(out, T::VT_INCLUDE_SELF);
  const std::size_t data = table.add_offset(T::VT_DATA);
  table.add(T::VT_REQUIRES_ACK, std::uint8_t{body.requires_ack});
  table.add(T::VT_INCLUDE_SELF, std::uint8_t{body.include_self});
  table.close();
  out.bytes(data, body.data);
}

template <bool kStore>
[[gnu::always_inline]] constexpr void lay_payload(Writer<kStore>& out,
                                                  const AckBody& body) noexcept {
  using T = fbs::AckReply;
  Table<kStore> table(out, T::VT_LEVEL);
  table.add(T::VT_EPOCH, body.epoch);
  table.add(T::VT_OFFSET, body.offset);
  table.add(T::VT_DELIVERED, body.delivered);
  table.add(T::VT_LEVEL, static_cast<std::uint8_t>(body.level));
  table.close();
}

template <bool kStore>
[[gnu::always_inline]] constexpr void lay_payload(Writer<kStore>& out,
                                                  const ErrorBody& body) noexcept {
  using T = fbs::ErrorReply;
  Table<kStore> table(out, T::VT_RETRY_AFTER_MS);
  const std::size_t text = table.add_offset(T::VT_TEXT);
  table.add(T::VT_RETRY_AFTER_MS, body.retry_after_ms);
  table.add(T::VT_CODE, static_cast<std::uint16_t>(body.code));
  table.add(T::VT_FAILED_OPCODE, static_cast<std::uint16_t>(body.failed_opcode));
  table.close();
  out.string(text, body.text);
}

template <bool kStore>
[[gnu::always_inline]] constexpr void lay_event(Writer<kStore>& out, const EventBody& body,
                                                bool with_publisher) noexcept {
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
[[gnu::always_inline]] constexpr void lay_payload(Writer<kStore>& out,
                                                  const EventBody& body) noexcept {
  lay_event(out, body, !body.publisher.is_nil());
}

template <bool kStore>
[[gnu::always_inline]] constexpr void lay_delivery(Writer<kStore>& out, const Uuid& from,
                                                   Bytes bytes) noexcept {
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
[[gnu::always_inline]] constexpr void lay_payload(Writer<kStore>& out,
                                                  const DirectMessageBody& body) noexcept {
  lay_delivery(out, body.from, body.data);
}
template <bool kStore>
[[gnu::always_inline]] constexpr void lay_payload(Writer<kStore>& out,
                                                  const BroadcastMessageBody& body) noexcept {
  lay_delivery(out, body.from, body.data);
}
template <bool kStore>
[[gnu::always_inline]] constexpr void lay_payload(Writer<kStore>& out,
                                                  const RawBody& body) noexcept {
  out.append_bytes(body.payload.data(), body.payload.size());
}

// Which of its optional fields a frame carries.
struct Carries {
  bool transaction_id;
  bool trace;
};

template <bool kStore, class Lay>
[[gnu::always_inline]] constexpr std::size_t lay_envelope(std::byte* base,
                                                          const MessageHeader& header,
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

}  // namespace corelane::protocol::layout
