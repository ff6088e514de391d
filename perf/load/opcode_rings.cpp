#include "perf/load/opcode_rings.hpp"

#include <cstring>
#include <vector>

#include "protocol/message.hpp"
#include "runtime/assert.hpp"

namespace corelane::perf {
namespace {

using Frame = std::vector<std::byte>;

template <class Body>
Frame frame_of(const protocol::MessageHeader& header, const Body& body) {
  Frame frame;
  protocol::append_frame(frame, header, body);
  return frame;
}

protocol::Uuid transaction(std::uint64_t number) noexcept {
  protocol::Uuid id{};
  const std::uint64_t bits = number + 1;  // not nil
  std::memcpy(id.data, &bits, sizeof bits);
  return id;
}

Frame sent_over(Scheme scheme, const Frame& frame) {
  return scheme == Scheme::ws ? client_frame(frame) : frame;
}
Frame received_over(Scheme scheme, const Frame& frame) {
  return scheme == Scheme::ws ? server_frame(frame) : frame;
}

// Where two answers differ that were made at different times.
std::vector<ByteRange> differences(const Frame& one, const Frame& other) {
  RT_ASSERT(one.size() == other.size());
  std::vector<ByteRange> ranges;
  for (std::size_t i = 0; i < one.size(); ++i) {
    if (one[i] == other[i]) continue;
    if (!ranges.empty() && ranges.back().end == i) {
      ++ranges.back().end;
    } else {
      ranges.push_back({i, i + 1});
    }
  }
  return ranges;
}

// Two clocks that have no byte in common.
constexpr std::uint64_t kOneTime = 0x0101010101010101;
constexpr std::uint64_t kOtherTime = 0xfefefefefefefefe;

// `request` and `answer` make the frame of a number and payload; `answer` also takes the clock.
template <class Request, class Answer>
MessageRing make_ring(Scheme scheme, std::size_t payload_bytes, std::size_t depth,
                      const Request& request, const Answer& answer) {
  std::vector<Exchange> exchanges;
  std::vector<ByteRange> holes;
  std::uint64_t number = 0;
  for (const auto& payload : make_payloads(ring_messages(payload_bytes, depth), payload_bytes)) {
    const Frame reply = received_over(scheme, answer(number, payload, kOneTime));
    if (number == 0) {
      holes = differences(reply, received_over(scheme, answer(number, payload, kOtherTime)));
    }
    exchanges.push_back({sent_over(scheme, request(number, payload)), reply});
    ++number;
  }
  return MessageRing(scheme == Scheme::ws, exchanges, holes);
}

}  // namespace

MessageRing make_ping_ring(Scheme scheme, std::size_t payload_bytes, std::size_t depth) {
  return make_ring(
      scheme, payload_bytes, depth,
      [](std::uint64_t number, const Frame& payload) {
        return frame_of({.transaction_id = transaction(number)},
                        protocol::PingBody{.data = payload});
      },
      [](std::uint64_t number, const Frame& payload, std::uint64_t time) {
        return frame_of({.transaction_id = transaction(number), .timestamp = time},
                        protocol::PongBody{.data = payload, .server_time = time});
      });
}

MessageRing make_send_ring(Scheme scheme, std::size_t payload_bytes, std::size_t depth,
                           const protocol::Uuid& from, const protocol::Uuid& to) {
  return make_ring(
      scheme, payload_bytes, depth,
      [&](std::uint64_t, const Frame& payload) {
        return frame_of({}, protocol::SendBody{.session = to, .data = payload});
      },
      [&](std::uint64_t, const Frame& payload, std::uint64_t time) {
        return frame_of({.timestamp = time},
                        protocol::DirectMessageBody{.from = from, .data = payload});
      });
}

}  // namespace corelane::perf
