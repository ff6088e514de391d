#include "ws/message_reader.hpp"

#include <algorithm>
#include <array>

#include "runtime/accounted_size.hpp"
#include "ws/deflate.hpp"

namespace corelane::ws {

// Everything about what is unfinished. `rules` of the next frame and the message's progress are
// kept apart from the current frame, since control frames come between fragments.
struct MessageReader::Partial {
  Partial* next_free = nullptr;

  OwnedBytes joined;            // the message so far, as it came (compressed if is_compressed)
  std::uint32_t fragments = 0;  // frames of the message so far
  MessageKind kind = MessageKind::binary;
  bool in_message = false;
  bool is_compressed = false;
  Utf8Validator utf8;

  bool in_frame = false;  // `frame` is complete, its payload is not
  FrameHeader frame;
  std::uint64_t frame_received = 0;

  std::uint8_t header_bytes = 0;  // of a header that is cut between two receives
  std::uint8_t control_bytes = 0;
  std::array<std::byte, kClientHeaderBytesMax> header;
  std::array<std::byte, kControlPayloadBytesMax> control;

  runtime::AccountedSize<runtime::MemoryKind::messages> held;  // `joined`, which counts itself

  // Call after each change of the capacity of `joined`.
  void weigh() noexcept { held.set_unfinished(joined.capacity()); }

  bool is_idle() const noexcept { return !in_message && !in_frame && header_bytes == 0; }
  static Partial* acquire();
  static void release(Partial* partial) noexcept;

 private:
  struct FreeList;
  struct FreeListGuard;
};

// Partials of a thread that are not in use. Trivially destructible, so that readers which outlive
// the thread's other objects stay safe.
struct MessageReader::Partial::FreeList {
  // As many connections of one core as are commonly in mid frame at once; about 100 KiB.
  static constexpr std::size_t kKeptMax = 256;
  Partial* first = nullptr;
  std::size_t count = 0;
  bool is_closed = false;
  static constinit thread_local FreeList of_thread;
};
constinit thread_local MessageReader::Partial::FreeList
    MessageReader::Partial::FreeList::of_thread{};

struct MessageReader::Partial::FreeListGuard {
  ~FreeListGuard() {
    FreeList& list = FreeList::of_thread;
    list.is_closed = true;
    while (Partial* partial = list.first) {
      list.first = partial->next_free;
      delete partial;
    }
    list.count = 0;
  }
  void touch() const noexcept {}
};

MessageReader::Partial* MessageReader::Partial::acquire() {
  static thread_local FreeListGuard guard;
  guard.touch();
  FreeList& list = FreeList::of_thread;
  Partial* const partial = list.first;
  if (partial == nullptr) return new Partial;
  list.first = partial->next_free;
  --list.count;
  return partial;
}

void MessageReader::Partial::release(Partial* partial) noexcept {
  partial->joined.reset();
  partial->weigh();
  FreeList& list = FreeList::of_thread;
  if (list.is_closed || list.count >= FreeList::kKeptMax) {
    delete partial;
    return;
  }
  partial->in_message = false;
  partial->in_frame = false;
  partial->header_bytes = 0;
  partial->next_free = list.first;
  list.first = partial;
  ++list.count;
}

bool MessageReader::unfinished() const noexcept {
  return partial_ != nullptr && !is_done_ && !partial_->is_idle();
}

std::size_t MessageReader::unfinished_bytes() const noexcept {
  return partial_ != nullptr ? partial_->held.unfinished() : 0;
}

runtime::Nanoseconds MessageReader::unfinished_at() const noexcept {
  return partial_ != nullptr ? partial_->held.booked_at() : 0;
}

std::uint64_t MessageReader::bytes_missing() const noexcept {
  if (partial_ == nullptr || !partial_->in_frame) return 0;
  return partial_->frame.payload_bytes - partial_->frame_received;
}

std::uint64_t MessageReader::frame_bytes(std::span<const std::byte> next) const noexcept {
  FrameHeader header;
  if (partial_ != nullptr && partial_->in_frame) {
    header = partial_->frame;
  } else if (partial_ != nullptr && partial_->header_bytes != 0) {
    return 0;
  } else {
    const FrameRules of_next = partial_ != nullptr ? rules() : idle_rules();
    if (parse_frame_header(next, of_next, header) != HeaderStatus::complete) return 0;
  }
  return header.header_bytes + header.payload_bytes;
}

void MessageReader::release_partial() noexcept {
  Partial::release(std::exchange(partial_, nullptr));
}

FrameRules MessageReader::rules() const noexcept {
  return {
      .receiver = role_, .rsv1_negotiated = rsv1_negotiated_, .in_message = partial_->in_message};
}

[[gnu::cold]] void MessageReader::set_fault(Event& event, Breach breach) noexcept {
  event.kind = EventKind::fault;
  event.fault = breach;
}

void MessageReader::control_event(Opcode opcode, std::span<std::byte> payload,
                                  Event& event) noexcept {
  event.payload = payload;
  event.kind = opcode == Opcode::ping   ? EventKind::ping
               : opcode == Opcode::pong ? EventKind::pong
                                        : EventKind::close;
}

// Consumes frames and pieces of frames until one of them completes an event or the bytes end.
void MessageReader::take_pieces(std::span<std::byte> bytes, const ReaderLimits& limits,
                                Event& event) {
  if (partial_ == nullptr) partial_ = Partial::acquire();
  while (event.kind == EventKind::none) {
    const std::span<std::byte> rest = bytes.subspan(event.consumed);
    if (!partial_->in_frame) {
      if (rest.empty()) return;
      event.consumed += take_header(rest, limits, event);
    } else {
      // An empty payload is complete without a byte; any other needs one.
      if (rest.empty() && partial_->frame.payload_bytes > 0) return;
      event.consumed += take_payload(rest, event);
    }
  }
}

// Completes the header in partial_->frame, or keeps what there is of it. Returns the bytes taken.
std::size_t MessageReader::take_header(std::span<std::byte> bytes, const ReaderLimits& limits,
                                       Event& event) {
  Partial& partial = *partial_;
  const std::size_t had = partial.header_bytes;
  const std::size_t copied = std::min(bytes.size(), partial.header.size() - had);
  std::memcpy(partial.header.data() + had, bytes.data(), copied);
  const std::span<const std::byte> header{partial.header.data(), had + copied};
  switch (parse_frame_header(header, rules(), partial.frame)) {
    case HeaderStatus::need_more:
      // A header is at most 14 bytes, so that all of `bytes` fitted.
      RT_ASSERT(copied == bytes.size());
      partial.header_bytes = static_cast<std::uint8_t>(had + copied);
      return copied;
    case HeaderStatus::error:
      set_fault(event, header_breach(header, rules()));
      return bytes.size();
    case HeaderStatus::complete:
      break;
  }
  RT_ASSERT(partial.frame.header_bytes > had);
  const std::size_t taken = partial.frame.header_bytes - had;
  partial.header_bytes = 0;
  partial.frame_received = 0;
  partial.control_bytes = 0;
  partial.in_frame = true;
  begin_frame(limits, event);
  return taken;
}

// Checks what a data frame adds to its message, before memory is spent on it.
void MessageReader::begin_frame(const ReaderLimits& limits, Event& event) noexcept {
  Partial& partial = *partial_;
  const FrameHeader& frame = partial.frame;
  if (is_control(frame.opcode)) return;
  if (frame.opcode != Opcode::continuation) {
    RT_ASSERT(partial.joined.size() == 0);
    partial.in_message = true;
    partial.is_compressed = frame.rsv1;
    partial.kind = static_cast<MessageKind>(frame.opcode);
    partial.fragments = 0;
    partial.utf8.reset();
  }
  ++partial.fragments;
  // Data that deflate cannot shrink grows by a header a stored block, below an eighth at every
  // memory level; inflation then has the exact limit.
  const std::size_t bytes_max = partial.is_compressed
                                    ? limits.message_bytes_max + limits.message_bytes_max / 8 + 64
                                    : limits.message_bytes_max;
  const bool fits =
      frame.payload_bytes <= bytes_max && partial.joined.size() <= bytes_max - frame.payload_bytes;
  if (!fits) {
    set_fault(event, Breach::message_bytes);
  } else if (partial.fragments > limits.fragments_max) {
    set_fault(event, Breach::fragments);
  }
}

// Takes what there is of the current frame's payload. Returns the bytes taken.
std::size_t MessageReader::take_payload(std::span<std::byte> bytes, Event& event) {
  Partial& partial = *partial_;
  const FrameHeader& frame = partial.frame;
  const auto taken = static_cast<std::size_t>(
      std::min<std::uint64_t>(bytes.size(), frame.payload_bytes - partial.frame_received));
  const std::span<std::byte> piece = bytes.first(taken);
  const auto offset = static_cast<std::size_t>(partial.frame_received);
  partial.frame_received += taken;
  const bool is_frame_complete = partial.frame_received == frame.payload_bytes;
  partial.in_frame = !is_frame_complete;

  if (is_control(frame.opcode)) {
    std::byte* const to = partial.control.data() + offset;
    if (taken > 0) copy_masked(piece, to, frame.mask_key, offset);
    const std::span<std::byte> payload{partial.control.data(), offset + taken};
    if (is_frame_complete) control_event(frame.opcode, payload, event);
    return taken;
  }
  if (taken > 0) {
    std::byte* const to = partial.joined.grow(taken);
    copy_masked(piece, to, frame.mask_key, offset);
    partial.weigh();
    const bool is_text = partial.kind == MessageKind::text && !partial.is_compressed;
    if (is_text && !partial.utf8.consume({to, taken})) {
      set_fault(event, Breach::text);
      partial.in_message = !(is_frame_complete && frame.is_final);
      return taken;
    }
  }
  if (is_frame_complete && frame.is_final) finish_message(event);
  return taken;
}

void MessageReader::finish_message(Event& event) noexcept {
  Partial& partial = *partial_;
  partial.in_message = false;
  const bool is_text = partial.kind == MessageKind::text && !partial.is_compressed;
  if (is_text && !partial.utf8.complete()) {
    set_fault(event, Breach::text);
    return;
  }
  if (partial.joined.size() == 0) partial.joined.reserve(OwnedBytes::kCapacityMin);
  event.kind = partial.is_compressed ? EventKind::compressed : EventKind::message;
  event.message_kind = partial.kind;
  event.joined = &partial.joined;
  event.payload = partial.joined.bytes();
  event.header_room = OwnedBytes::kRoomBytes;
}

void MessageReader::inflate_message(Inflater& inflater, const ReaderLimits& limits, Event& event) {
  const InflateStatus status = inflater.inflate(event.payload, limits.message_bytes_max);
  // The compressed bytes have served.
  if (event.joined != nullptr) event.joined->reset();
  event.joined = &inflater.output();
  if (status != InflateStatus::ok) {
    set_fault(event,
              status == InflateStatus::too_big ? Breach::inflated_bytes : Breach::compressed_data);
    return;
  }
  event.kind = EventKind::message;
  event.payload = inflater.output().bytes();
  event.header_room = OwnedBytes::kRoomBytes;
  if (event.message_kind == MessageKind::text && !is_valid_utf8(event.payload)) {
    set_fault(event, Breach::text);
  }
}

// Gives back what the event lent to the sink and, if nothing is unfinished, the Partial. After a
// fault it is kept only if skip() can go on from there.
void MessageReader::after_event(const Event& event) noexcept {
  if (event.joined != nullptr) event.joined->reset();
  if (event.kind == EventKind::fault) is_done_ = true;
  if (partial_ == nullptr) return;
  const bool can_skip = event.kind == EventKind::fault && is_framed(event.fault);
  if (partial_->is_idle() || (is_done_ && !can_skip)) {
    release_partial();
    return;
  }
  if (is_done_) partial_->joined.reset();
  partial_->weigh();
}

// --- After our close frame

SkipResult MessageReader::skip(std::span<const std::byte> bytes) noexcept {
  is_done_ = true;
  if (partial_ == nullptr) partial_ = Partial::acquire();
  partial_->joined.reset();
  partial_->weigh();
  SkipResult result;
  while (result.status == SkipStatus::going_on && result.consumed < bytes.size()) {
    const std::span<const std::byte> rest = bytes.subspan(result.consumed);
    result.consumed += partial_->in_frame ? skip_payload(rest, result) : skip_header(rest, result);
  }
  return result;
}

std::size_t MessageReader::skip_header(std::span<const std::byte> bytes,
                                       SkipResult& result) noexcept {
  Partial& partial = *partial_;
  const std::size_t had = partial.header_bytes;
  const std::size_t copied = std::min(bytes.size(), partial.header.size() - had);
  std::memcpy(partial.header.data() + had, bytes.data(), copied);
  const std::span<const std::byte> header{partial.header.data(), had + copied};
  const HeaderStatus status = parse_frame_header(header, rules(), partial.frame);
  if (status == HeaderStatus::error) {
    result.status = SkipStatus::lost;
    return bytes.size();
  }
  partial.header_bytes = static_cast<std::uint8_t>(header.size());
  if (status == HeaderStatus::need_more) return copied;
  partial.header_bytes = 0;
  partial.frame_received = 0;
  partial.in_frame = true;
  const std::size_t taken = partial.frame.header_bytes - had;
  // An empty frame ends here.
  if (partial.frame.payload_bytes == 0) skip_payload({}, result);
  return taken;
}

std::size_t MessageReader::skip_payload(std::span<const std::byte> bytes,
                                        SkipResult& result) noexcept {
  Partial& partial = *partial_;
  const FrameHeader& frame = partial.frame;
  const auto taken = static_cast<std::size_t>(
      std::min<std::uint64_t>(bytes.size(), frame.payload_bytes - partial.frame_received));
  const auto offset = static_cast<std::size_t>(partial.frame_received);
  if (frame.opcode == Opcode::close && taken > 0) {
    copy_masked(bytes.first(taken), partial.control.data() + offset, frame.mask_key, offset);
  }
  partial.frame_received += taken;
  if (partial.frame_received < frame.payload_bytes) return taken;
  partial.in_frame = false;
  if (!is_control(frame.opcode)) {
    partial.in_message = !frame.is_final;
  } else if (frame.opcode == Opcode::close) {
    result.status = SkipStatus::closed;
    result.close = parse_close_payload({partial.control.data(), offset + taken});
  }
  return taken;
}

}  // namespace corelane::ws
