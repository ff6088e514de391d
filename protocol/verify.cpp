#include "protocol/verify.hpp"

#include "protocol/assert.hpp"
#include "protocol/usual.hpp"

namespace corelane::protocol {
namespace {

// A table whose vtable has been checked to lie inside the buffer. Positions count from the buffer's
// start.
class TableReader {
 public:
  static bool open(std::span<const std::byte> buffer, TableReader& reader) noexcept {
    PROTOCOL_ASSERT(buffer.size() >= kMessageBytesMin);  // its subtractions do not wrap then
    const std::size_t table = load<std::uint32_t>(buffer.data());
    // The root offset is unsigned and forward; a table starts with the 4-byte way back to its
    // vtable.
    if (table < sizeof(std::uint32_t) || table > buffer.size() - sizeof(std::int32_t)) return false;
    const std::int64_t vtable =
        static_cast<std::int64_t>(table) - load<std::int32_t>(&buffer[table]);
    if (vtable < 0 || static_cast<std::size_t>(vtable) > buffer.size() - sizeof(std::uint16_t))
      return false;
    const std::size_t vtable_bytes = load<std::uint16_t>(&buffer[static_cast<std::size_t>(vtable)]);
    if (vtable_bytes % 2 != 0) return false;
    if (vtable_bytes > buffer.size() - static_cast<std::size_t>(vtable)) return false;
    reader.buffer_ = buffer;
    reader.table_ = table;
    reader.vtable_ = static_cast<std::size_t>(vtable);
    reader.vtable_bytes_ = vtable_bytes;
    return true;
  }

  // False if the field is there but does not fit in the buffer. An absent one leaves value as it
  // is.
  template <class T>
  bool read(flatbuffers::voffset_t field, T& value) const noexcept {
    const std::size_t at = position(field);
    if (at == 0) return true;
    if (at > buffer_.size() || buffer_.size() - at < sizeof(T)) return false;
    std::memcpy(static_cast<void*>(&value), &buffer_[at], sizeof(T));
    return true;
  }

  bool read_bytes(flatbuffers::voffset_t field, std::span<const std::byte>& value) const noexcept {
    const std::size_t at = position(field);
    if (at == 0) return true;
    std::uint32_t offset = 0;
    if (!read(field, offset)) return false;
    const std::size_t vector = at + offset;
    if (offset == 0 || vector > buffer_.size() - sizeof(std::uint32_t)) return false;
    const std::size_t count = load<std::uint32_t>(&buffer_[vector]);
    if (count > buffer_.size() - vector - sizeof(std::uint32_t)) return false;
    value = buffer_.subspan(vector + sizeof(std::uint32_t), count);
    return true;
  }

 private:
  std::size_t position(flatbuffers::voffset_t field) const noexcept {
    PROTOCOL_DEBUG_ASSERT(field % sizeof(std::uint16_t) == 0);
    PROTOCOL_DEBUG_ASSERT(vtable_ + vtable_bytes_ <= buffer_.size());
    if (std::size_t{field} + sizeof(std::uint16_t) > vtable_bytes_) return 0;
    const std::size_t offset = load<std::uint16_t>(&buffer_[vtable_ + field]);
    return offset == 0 ? 0 : table_ + offset;
  }

  std::span<const std::byte> buffer_;
  std::size_t table_ = 0;
  std::size_t vtable_ = 0;
  std::size_t vtable_bytes_ = 0;
};

// A message that write_frame() has built for a request or a reply: a transaction id, no trace.
using T = fbs::Message;
constexpr auto kUsual =
    layout::laid_message_of<layout::Carries{.transaction_id = true, .trace = false}>();
constexpr auto kUsualFront = layout::front_of<kUsual>();
constexpr std::size_t kUsualPayloadAt = kUsual.at(T::VT_PAYLOAD);
constexpr std::size_t kUsualOpcodeAt = kUsual.at(T::VT_OPCODE);
constexpr std::size_t kUsualTimestampAt = kUsual.at(T::VT_TIMESTAMP);
constexpr std::size_t kUsualTransactionIdAt = kUsual.at(T::VT_TRANSACTION_ID);
constexpr std::size_t kUsualTableEnd = kUsual.table_end();

// Verifies a table with one list of strings, and its length before its strings.
struct ChannelListTable : flatbuffers::Table {
  bool Verify(flatbuffers::Verifier& verifier) const {
    constexpr flatbuffers::voffset_t kField = fbs::SubscribeRequest::VT_CHANNELS;
    static_assert(kField == fbs::UnsubscribeRequest::VT_CHANNELS);
    static_assert(kField == fbs::CacheMultiGetRequest::VT_KEYS);
    if (!VerifyTableStart(verifier) || !VerifyOffsetRequired(verifier, kField)) return false;
    const auto* channels = GetPointer<const Channels*>(kField);
    if (!verifier.VerifyVector(channels)) return false;
    // Longer lists are refused by the caller, their strings unseen.
    if (channels->size() > kChannelsPerRequestMax) return true;
    return verifier.VerifyVectorOfStrings(channels) && verifier.EndTable();
  }

  std::size_t channel_count() const {
    return GetPointer<const Channels*>(fbs::SubscribeRequest::VT_CHANNELS)->size();
  }

  using Channels = flatbuffers::Vector<flatbuffers::Offset<flatbuffers::String>>;
};

alignas(16) constexpr auto kEmptyTable = layout::laid<layout::LayBody<WhoAmIBody>>().bytes;

}  // namespace

bool detail::verify_usual(std::span<const std::byte> message, MessageView& view) noexcept {
  if (message.size() < kUsualTableEnd || message.size() > kBufferBytesMax) return false;
  if (std::memcmp(message.data(), kUsualFront.data(), kUsualFront.size()) != 0) return false;
  const std::size_t offset = load<std::uint32_t>(&message[kUsualPayloadAt]);
  const std::size_t vector = kUsualPayloadAt + offset;
  if (offset == 0 || vector > message.size() - sizeof(std::uint32_t)) return false;
  const std::size_t count = load<std::uint32_t>(&message[vector]);
  if (count > message.size() - vector - sizeof(std::uint32_t)) return false;
  view.payload = message.subspan(vector + sizeof(std::uint32_t), count);
  view.opcode = load<Opcode>(&message[kUsualOpcodeAt]);
  view.timestamp = load<std::uint64_t>(&message[kUsualTimestampAt]);
  view.transaction_id = load<Uuid>(&message[kUsualTransactionIdAt]);
  return true;
}

VerifiedMessage detail::verify_any(std::span<const std::byte> message) noexcept {
  VerifiedMessage result;
  if (message.size() < kMessageBytesMin || message.size() > kBufferBytesMax) return result;
  TableReader table;
  if (!TableReader::open(message, table)) return result;
  MessageView view;
  result.ok = table.read(fbs::Message::VT_OPCODE, view.opcode) &&
              table.read(fbs::Message::VT_TRANSACTION_ID, view.transaction_id) &&
              table.read_bytes(fbs::Message::VT_PAYLOAD, view.payload) &&
              table.read(fbs::Message::VT_TIMESTAMP, view.timestamp) &&
              table.read(fbs::Message::VT_TRACE_ID, view.trace_id) &&
              table.read(fbs::Message::VT_SPAN_ID, view.span_id);
  if (result.ok) result.view = view;
  return result;
}

VerifiedMessage verify_message(std::span<const std::byte> message) noexcept {
  VerifiedMessage result;
  result.ok = detail::verify_usual(message, result.view);
  if (!result.ok) [[unlikely]]
    return detail::verify_any(message);
  PROTOCOL_DEBUG_ASSERT(detail::verify_any(message).ok);  // the short way takes nothing more
  return result;
}

std::span<const std::byte> AlignedScratch::copy(std::span<const std::byte> bytes) {
  if (bytes.size() > capacity_bytes_) {
    // Powers of two, so that slowly growing messages do not allocate each time.
    const std::size_t block_count = std::bit_ceil(bytes.size()) / sizeof(Block) + 1;
    blocks_.reset();
    blocks_ = std::make_unique_for_overwrite<Block[]>(block_count);
    capacity_bytes_ = block_count * sizeof(Block);
  }
  PROTOCOL_ASSERT(bytes.size() <= capacity_bytes_);
  std::memcpy(static_cast<void*>(blocks_.get()), bytes.data(), bytes.size());
  return {blocks_[0].bytes, bytes.size()};
}

namespace detail {

const std::span<const std::byte> kEmptyPayload{kEmptyTable};

bool payload_size_fits(std::size_t payload_bytes) noexcept {
  return payload_bytes >= kMessageBytesMin && payload_bytes <= kBufferBytesMax;
}

ErrorCode check_channel_list(flatbuffers::Verifier& verifier, std::span<const std::byte> payload) {
  if (!verifier.VerifyBuffer<ChannelListTable>(nullptr)) return ErrorCode::malformed_payload;
  const auto* table = flatbuffers::GetRoot<ChannelListTable>(payload.data());
  return table->channel_count() > kChannelsPerRequestMax ? ErrorCode::too_many_channels
                                                         : ErrorCode::none;
}

}  // namespace detail
}  // namespace corelane::protocol
