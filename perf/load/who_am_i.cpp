#include "perf/load/who_am_i.hpp"

#include <optional>
#include <vector>

#include "perf/load/message_ring.hpp"
#include "perf/load/websocket_units.hpp"
#include "protocol/frame.hpp"
#include "protocol/message.hpp"
#include "protocol/verify.hpp"

namespace corelane::perf {
namespace {

constexpr std::size_t kReplyBytesMax = 4096;

// The reply, once it is whole.
std::optional<WhoAmI> read_reply(Scheme scheme, std::span<const std::byte> bytes) {
  if (scheme == Scheme::ws) {
    ws::FrameHeader header;
    if (parse_server_frame(bytes, header).kind != Unit::Kind::delivery) return std::nullopt;
    bytes = bytes.subspan(header.header_bytes);
  }
  const protocol::Frame frame = protocol::next_frame(bytes, kReplyBytesMax);
  if (frame.status != protocol::FrameStatus::complete) return std::nullopt;
  const auto message = protocol::verify_message(frame.message);
  if (!message.ok || message.view.opcode != protocol::Opcode::WhoAmIReply) return std::nullopt;
  protocol::AlignedScratch scratch;
  const auto reply =
      protocol::verify_payload<protocol::fbs::WhoAmIReply>(message.view.payload, scratch);
  if (!reply) return std::nullopt;
  return WhoAmI{.session = protocol::from_fbs(reply->session()), .core = reply->core()};
}

}  // namespace

runtime::Task<runtime::Result<WhoAmI>> ask_who_i_am(Conversation& conversation, Scheme scheme) {
  std::vector<std::byte> request;
  protocol::append_frame(request, {}, protocol::WhoAmIBody{});
  if (scheme == Scheme::ws) request = client_frame(request);
  std::optional<WhoAmI> reply;
  const Conversation::IsWhole is_whole = [&](std::span<const std::byte> bytes) {
    reply = read_reply(scheme, bytes);
    return reply.has_value();
  };
  const auto asked = co_await conversation.ask(request, is_whole);
  if (!asked) co_return runtime::Unexpected{asked.error()};
  co_return *reply;
}

}  // namespace corelane::perf
