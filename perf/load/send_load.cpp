#include "perf/load/send_load.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "perf/load/opcode_protocol.hpp"
#include "perf/load/opcode_rings.hpp"
#include "perf/load/reply_checker.hpp"
#include "perf/load/who_am_i.hpp"

namespace corelane::perf {
namespace {

constexpr std::size_t kFrameOverhead = 256;  // envelope and headers, generously

}  // namespace

SendLoad::SendLoad(LoadContext& context)
    : Pipelines(context),
      protocol_(make_opcode_protocol(context.settings.target.scheme == Scheme::ws)) {
  sender_events_.on_ended = [this](bool is_wrong, const std::string& why) {
    if (context_.stopping) return;
    if (is_wrong) return context_.faults.note_wrong("a sender: " + why);
    context_.faults.note_closed("the server closed a sender: " + why);
  };
}

runtime::Task<runtime::Result<void>> SendLoad::open_session() {
  const Scheme scheme = context_.settings.target.scheme;
  Session& session =
      sessions_.emplace_back(Session{.conversation = Conversation(context_.network)});
  const auto opened = co_await session.conversation.open(context_.opener);
  if (!opened) co_return runtime::Unexpected{opened.error()};
  const auto reply = co_await ask_who_i_am(session.conversation, scheme);
  if (!reply) co_return runtime::Unexpected{reply.error()};
  session.id = reply->session;
  session.core = reply->core;
  co_return runtime::Result<void>{};
}

runtime::Task<runtime::Result<void>> SendLoad::open() {
  for (std::uint32_t i = 0; i < 2 * context_.settings.connections; ++i) {
    const auto opened = co_await open_session();
    if (!opened) co_return runtime::Unexpected{opened.error()};
  }
  std::map<std::uint16_t, std::vector<Session*>> by_core;
  for (Session& session : sessions_) by_core[session.core].push_back(&session);
  const auto take_from_fullest = [&](const std::vector<Session*>* other) -> std::vector<Session*>& {
    std::vector<Session*>* fullest = nullptr;
    for (auto& [core, sessions] : by_core) {
      if (&sessions == other || sessions.empty()) continue;
      if (fullest == nullptr || sessions.size() > fullest->size()) fullest = &sessions;
    }
    return fullest != nullptr ? *fullest : *const_cast<std::vector<Session*>*>(other);
  };
  for (std::uint32_t i = 0; i < context_.settings.connections; ++i) {
    auto& from = take_from_fullest(nullptr);
    Session& sender = *from.back();
    from.pop_back();
    auto& to = take_from_fullest(&from);
    Session& receiver = *to.back();
    to.pop_back();
    across_cores_ += sender.core != receiver.core;
    pair(sender, receiver);
  }
  co_return runtime::Result<void>{};
}

void SendLoad::pair(Session& sender, Session& receiver) {
  const Settings& settings = context_.settings;
  // Not of the usual length: each pair has its own.
  MessageRing& ring = rings_.emplace_back(make_send_ring(
      settings.target.scheme, settings.payload_bytes, settings.depth, sender.id, receiver.id));
  PipelineConnection& one =
      connections_.emplace_back(shared_, ring, 0, std::make_unique<ReplyChecker>(ring, 0));
  one.send_by(sender.conversation.stream());
  QuietStream& quiet = senders_.emplace_back(*protocol_, sender_events_);
  // One that has ended is noticed when its partner is never answered.
  if (net::Stream* stream = context_.network.find(sender.conversation.stream())) {
    stream->set_handler(QuietStream::kHandler, &quiet);
  }
  if (net::Stream* stream = context_.network.find(receiver.conversation.stream())) {
    stream->set_handler(PipelineConnection::kHandler, &one);
  }
}

std::string SendLoad::describe_lost() const {
  return fmt::format("{} messages never came to the session they were sent to", outstanding());
}

std::string SendLoad::own_json() const {
  return fmt::format(R"("send":{{"pairs_across_cores":{}}},)", across_cores_);
}

std::string SendLoad::own_text() const {
  return fmt::format("  pairs        {} of {} across cores\n", across_cores_,
                     context_.settings.connections);
}

net::NetworkOptions SendLoad::network_options(const Settings& settings) {
  net::NetworkOptions options;
  options.streams_max = 2 * settings.connections;
  options.queued_bytes_max =
      4 * (std::size_t{settings.depth} + 1) * (settings.payload_bytes + kFrameOverhead);
  options.direct_descriptors = false;
  return options;
}

}  // namespace corelane::perf
