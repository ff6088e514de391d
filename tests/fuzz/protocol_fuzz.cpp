// Goal: no bytes make framing or verification read outside of them, disagree with FlatBuffers'
// verifier, or see different frames in a stream than in a whole. Method: the input's first byte
// picks the address and the sizes of the pieces; everything that verifies is read to its last byte.
// The sanitizers judge the reading, the checks below the rest.
// tests/unit/protocol/corruption_test.cpp runs the same function in every build.
#include <flatbuffers/flatbuffers.h>
#include <flatbuffers/minireflect.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "protocol/frame.hpp"
#include "protocol/requests.hpp"
#include "protocol/verify.hpp"
#include "tests/support/request_fields.hpp"

namespace corelane {
namespace {

using namespace protocol;
using Bytes = std::span<const std::byte>;

constexpr std::size_t kFrameBytesMax = 1 << 16;

void check(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "protocol_fuzz: %s\n", what);
  std::abort();
}

// Adds up every value of a table of any type, to its last byte.
class Checksum final : public flatbuffers::IterationVisitor {
 public:
  void add(std::uint64_t value) { sum_ = sum_ * 31 + value; }
  void add(Bytes bytes) {
    for (const std::byte byte : bytes) add(static_cast<std::uint64_t>(byte));
  }
  void add(std::string_view text) { add(std::as_bytes(std::span(text.data(), text.size()))); }
  void add(const Uuid& uuid) { add(std::as_bytes(std::span(uuid.data))); }
  std::uint64_t sum() const { return sum_; }

  void Bool(bool value) override { add(std::uint64_t{value}); }
  void Char(std::int8_t value, const char*) override { add_number(value); }
  void UChar(std::uint8_t value, const char*) override { add_number(value); }
  void Short(std::int16_t value, const char*) override { add_number(value); }
  void UShort(std::uint16_t value, const char*) override { add_number(value); }
  void Int(std::int32_t value, const char*) override { add_number(value); }
  void UInt(std::uint32_t value, const char*) override { add_number(value); }
  void Long(std::int64_t value) override { add_number(value); }
  void ULong(std::uint64_t value) override { add_number(value); }
  void Float(float value) override { add_number(value); }
  void Double(double value) override { add_number(value); }
  void String(const flatbuffers::String* text) override { add(text_of(text)); }
  void Unknown(const std::uint8_t*) override { check(false, "a field of an unknown type"); }

 private:
  template <class T>
  void add_number(T value) {
    add(std::as_bytes(std::span(&value, 1)));
  }

  std::uint64_t sum_ = 0;
};

template <class Table>
void read_as(Bytes payload, Checksum& sum) {
  AlignedScratch scratch;
  const auto verified = verify_payload<Table>(payload, scratch);
  check(verified.table != nullptr || verified.code != ErrorCode::none, "no table, no error");
  if (!verified) return;
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(verified.table);
  flatbuffers::IterateObject(bytes, Table::MiniReflectTypeTable(), &sum);
  // Our verifier has stricter limits: FlatBuffers' accepts each payload that ours accepts.
  if (payload.empty()) return;
  const Bytes aligned = scratch.aligned(payload, kPayloadAlignment<Table>);
  flatbuffers::Verifier theirs(reinterpret_cast<const std::uint8_t*>(aligned.data()),
                               aligned.size());
  check(theirs.VerifyBuffer<Table>(nullptr), "accepted what FlatBuffers refuses");
}

void add(const PingRequest& request, Checksum& sum) {
  sum.add(request.data);
}
void add(const PublishRequest& request, Checksum& sum) {
  sum.add(request.channel);
  sum.add(request.data);
  sum.add(std::uint64_t{request.requires_ack});
}
void add(const SendRequest& request, Checksum& sum) {
  sum.add(request.session);
  sum.add(request.data);
  sum.add(std::uint64_t{request.requires_ack});
}
void add(const BroadcastRequest& request, Checksum& sum) {
  sum.add(request.data);
  sum.add(std::uint64_t{request.requires_ack} + 2 * std::uint64_t{request.include_self});
}
void add(const CacheGetRequest& request, Checksum& sum) {
  sum.add(request.key);
  sum.add(request.if_newer_than);
}
void add(const CacheSetRequest& request, Checksum& sum) {
  sum.add(request.key);
  sum.add(request.value);
  for (const std::uint64_t number : {request.ttl_ms, request.version, request.lease}) {
    sum.add(number);
  }
  sum.add(std::uint64_t{static_cast<std::uint8_t>(request.condition)} +
          256 * std::uint64_t{request.sliding});
}
void add(const CacheDeleteRequest& request, Checksum& sum) {
  sum.add(request.key);
  sum.add(request.version);
}

// What the short way takes is what the verifier takes, and both read the same.
template <class Table, class Request>
void compare_request(Bytes payload) {
  AlignedScratch scratch;
  const auto verified = verify_payload<Table>(payload, scratch);
  AlignedScratch other_scratch;
  Request request;
  const ErrorCode code = read_request(payload, other_scratch, request);
  check(code == verified.code, "a request is judged differently");
  if (!verified) return;
  Checksum ours;
  Checksum theirs;
  add(request, ours);
  add(tests::fields(*verified.table), theirs);
  check(ours.sum() == theirs.sum(), "a request reads differently");
}

// Every payload is tried as every type: a peer may put anything under any opcode.
void read_payload(Bytes payload, Checksum& sum) {
#define PROTOCOL_TABLE(Table) read_as<fbs::Table>(payload, sum);
#include "tests/support/protocol_tables_generated.hpp"
#undef PROTOCOL_TABLE
  compare_request<fbs::PingRequest, PingRequest>(payload);
  compare_request<fbs::PublishRequest, PublishRequest>(payload);
  compare_request<fbs::SendRequest, SendRequest>(payload);
  compare_request<fbs::BroadcastRequest, BroadcastRequest>(payload);
  compare_request<fbs::CacheGetRequest, CacheGetRequest>(payload);
  compare_request<fbs::CacheSetRequest, CacheSetRequest>(payload);
  compare_request<fbs::CacheDeleteRequest, CacheDeleteRequest>(payload);
}

// What FlatBuffers' verifier accepts, we accept and read alike.
void compare_with_flatbuffers(Bytes message, const VerifiedMessage& ours) {
  std::vector<std::uint64_t> aligned(message.size() / 8 + 2);
  auto* const frame = reinterpret_cast<std::byte*>(aligned.data());
  store(frame, static_cast<std::uint32_t>(message.size()));
  if (!message.empty()) std::memcpy(frame + kFrameSizeBytes, message.data(), message.size());
  flatbuffers::Verifier verifier(reinterpret_cast<const std::uint8_t*>(frame),
                                 kFrameSizeBytes + message.size());
  if (!fbs::VerifySizePrefixedMessageBuffer(verifier)) return;
  // That one lets a vtable lie in the 4 bytes of the size; we do not. Alignment is checked already.
  flatbuffers::Verifier without_size(reinterpret_cast<const std::uint8_t*>(frame) + kFrameSizeBytes,
                                     message.size(), 64, 1000, false);
  if (!fbs::VerifyMessageBuffer(without_size)) return;
  check(ours.ok || message.size() < kMessageBytesMin, "refused what FlatBuffers accepts");
  if (!ours.ok) return;
  const auto* theirs = fbs::GetSizePrefixedMessage(frame);
  check(theirs->opcode() == ours.view.opcode, "opcode differs");
  check(theirs->timestamp() == ours.view.timestamp, "timestamp differs");
  check(theirs->span_id() == ours.view.span_id, "span_id differs");
  check(from_fbs(theirs->transaction_id()) == ours.view.transaction_id, "transaction_id differs");
  check(from_fbs(theirs->trace_id()) == ours.view.trace_id, "trace_id differs");
  const Bytes payload = bytes_of(theirs->payload());
  check(payload.size() == ours.view.payload.size() &&
            std::equal(payload.begin(), payload.end(), ours.view.payload.begin()),
        "payload differs");
}

void read_message(Bytes message, Checksum& sum) {
  const VerifiedMessage verified = verify_message(message);
  compare_with_flatbuffers(message, verified);
  check(verified.ok == detail::verify_any(message).ok,
        "the short way judges a message differently");
  if (!verified.ok) return;
  sum.add(verified.view.transaction_id);
  sum.add(opcode_name(verified.view.opcode).size());
  sum.add(static_cast<std::uint64_t>(classify(verified.view.opcode)));
  sum.add(verified.view.payload);
  read_payload(verified.view.payload, sum);
}

// The messages of a stream that comes in pieces, to its end or first defect. Each piece lies in
// memory of its own size, so that reading past it shows.
std::vector<std::vector<std::byte>> stream(Bytes bytes, std::size_t piece_bytes,
                                           FrameStatus& last) {
  std::vector<std::vector<std::byte>> messages;
  std::vector<std::byte> pending;
  last = FrameStatus::need_more;
  while (!bytes.empty()) {
    const Bytes piece = bytes.first(std::min(piece_bytes, bytes.size()));
    bytes = bytes.subspan(piece.size());
    pending.insert(pending.end(), piece.begin(), piece.end());
    pending.shrink_to_fit();
    for (;;) {
      const Frame frame = next_frame(pending, kFrameBytesMax);
      last = frame.status;
      if (frame.status == FrameStatus::need_more) break;
      if (frame.status != FrameStatus::complete) return messages;
      messages.emplace_back(frame.message.begin(), frame.message.end());
      pending.erase(pending.begin(), pending.begin() + static_cast<std::ptrdiff_t>(frame.consumed));
    }
  }
  if (pending.empty()) last = FrameStatus::complete;
  return messages;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t choice = data[0];
  const std::size_t phase = choice % 16;
  std::vector<std::byte> memory(phase + size - 1);
  if (size > 1) std::memcpy(memory.data() + phase, data + 1, size - 1);
  const Bytes bytes = Bytes(memory).subspan(phase);

  Checksum sum;
  read_message(bytes, sum);
  read_payload(bytes, sum);
  FrameStatus stream_end{};
  const auto streamed = stream(bytes, 1 + choice / 16, stream_end);
  std::size_t count = 0;
  FrameStatus walk_end = FrameStatus::malformed;
  for (FrameCursor cursor(bytes, kFrameBytesMax); !cursor.at_end();) {
    const Frame frame = cursor.next();
    walk_end = frame.status;
    if (frame.status != FrameStatus::complete) break;
    check(count < streamed.size() && std::equal(frame.message.begin(), frame.message.end(),
                                                streamed[count].begin(), streamed[count].end()),
          "a stream and a whole message hold different frames");
    ++count;
    read_message(frame.message, sum);
  }
  check(count == streamed.size(), "a stream holds more frames than a whole message");
  if (!bytes.empty()) {
    check(walk_end == (stream_end == FrameStatus::need_more ? FrameStatus::malformed : stream_end),
          "a stream and a whole message end differently");
  }
  const volatile std::uint64_t result = sum.sum();
  static_cast<void>(result);
  return 0;
}

}  // namespace corelane
