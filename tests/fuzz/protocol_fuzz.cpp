// Goal: no bytes make framing or verification read outside of them, disagree with FlatBuffers'
// verifier, or see different frames in a stream than in a whole. Method: the input's first byte
// picks the address and the sizes of the pieces; everything that verifies is read to its last byte.
// The sanitizers judge the reading, the checks below the rest.
// tests/unit/protocol/corruption_test.cpp runs the same function in every build.
#include <flatbuffers/flatbuffers.h>

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

class Checksum {
 public:
  void add(std::uint64_t value) { sum_ = sum_ * 31 + value; }
  void add(Bytes bytes) {
    for (const std::byte byte : bytes) add(static_cast<std::uint64_t>(byte));
  }
  void add(std::string_view text) { add(std::as_bytes(std::span(text.data(), text.size()))); }
  void add(const Uuid& uuid) { add(std::as_bytes(std::span(uuid.data))); }
  void add(const fbs::UUID* uuid) { add(from_fbs(uuid)); }
  void add(const flatbuffers::String* text) { add(text_of(text)); }
  void add(const flatbuffers::Vector<std::uint8_t>* bytes) { add(bytes_of(bytes)); }
  template <class List>
  void add_channels(const List* list) {
    check(list->channels() != nullptr, "a required list is absent");
    for (const auto* channel : *list->channels()) add(channel);
  }
  template <class List>
  void add_results(const List* list) {
    for (const auto* result : *list->results()) {
      add(result->epoch() ^ result->offset() ^ static_cast<std::uint64_t>(result->code()));
    }
  }
  std::uint64_t sum() const { return sum_; }

 private:
  std::uint64_t sum_ = 0;
};

void read(const fbs::WhoAmIRequest*, Checksum&) {}
void read(const fbs::WhoAmIReply* t, Checksum& sum) {
  check(t->session() != nullptr, "a required session is absent");
  sum.add(t->session());
  sum.add(t->remote_address());
  sum.add(t->node());
  sum.add(t->server_version());
  sum.add(std::uint64_t{t->core()} + t->frame_bytes_max() + t->subscriptions_max());
}
void read(const fbs::PingRequest* t, Checksum& sum) {
  sum.add(t->data());
}
void read(const fbs::PongReply* t, Checksum& sum) {
  sum.add(t->data());
  sum.add(t->server_time());
}
void read(const fbs::SubscribeRequest* t, Checksum& sum) {
  sum.add_channels(t);
}
void read(const fbs::UnsubscribeRequest* t, Checksum& sum) {
  sum.add_channels(t);
}
void read(const fbs::SubscribeReply* t, Checksum& sum) {
  sum.add_results(t);
}
void read(const fbs::UnsubscribeReply* t, Checksum& sum) {
  sum.add_results(t);
}
void read(const fbs::PublishRequest* t, Checksum& sum) {
  check(t->channel() != nullptr, "a required channel is absent");
  sum.add(t->channel());
  sum.add(t->data());
  sum.add(std::uint64_t{t->requires_ack()});
}
void read(const fbs::SendRequest* t, Checksum& sum) {
  check(t->session() != nullptr, "a required session is absent");
  sum.add(t->session());
  sum.add(t->data());
}
void read(const fbs::BroadcastRequest* t, Checksum& sum) {
  sum.add(t->data());
}
void read(const fbs::AckReply* t, Checksum& sum) {
  sum.add(t->epoch() ^ t->offset() ^ t->delivered() ^ static_cast<std::uint64_t>(t->level()));
}
void read(const fbs::ErrorReply* t, Checksum& sum) {
  sum.add(t->text());
  sum.add(std::uint64_t{t->retry_after_ms()} + number(t->failed_opcode()));
  sum.add(error_code_name(t->code()).size());
}
void read(const fbs::ChannelEvent* t, Checksum& sum) {
  sum.add(t->channel());
  sum.add(t->epoch() ^ t->offset());
  sum.add(t->data());
  sum.add(t->publisher());
}
void read(const fbs::DirectEvent* t, Checksum& sum) {
  sum.add(t->from());
  sum.add(t->data());
}
void read(const fbs::BroadcastEvent* t, Checksum& sum) {
  sum.add(t->from());
  sum.add(t->data());
}

template <class... Tables>
void read_as_each(Bytes payload, Checksum& sum) {
  AlignedScratch scratch;
  (
      [&] {
        const auto verified = verify_payload<Tables>(payload, scratch);
        check(verified.table != nullptr || verified.code != ErrorCode::none, "no table, no error");
        if (verified) read(verified.table, sum);
      }(),
      ...);
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
  read_as_each<fbs::WhoAmIRequest, fbs::WhoAmIReply, fbs::PingRequest, fbs::PongReply,
               fbs::SubscribeRequest, fbs::SubscribeReply, fbs::UnsubscribeRequest,
               fbs::UnsubscribeReply, fbs::PublishRequest, fbs::SendRequest, fbs::BroadcastRequest,
               fbs::AckReply, fbs::ErrorReply, fbs::ChannelEvent, fbs::DirectEvent,
               fbs::BroadcastEvent>(payload, sum);
  compare_request<fbs::PingRequest, PingRequest>(payload);
  compare_request<fbs::PublishRequest, PublishRequest>(payload);
  compare_request<fbs::SendRequest, SendRequest>(payload);
  compare_request<fbs::BroadcastRequest, BroadcastRequest>(payload);
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
