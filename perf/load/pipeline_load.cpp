#include "perf/load/pipeline_load.hpp"

#include <fmt/format.h>

#include "perf/load/reply_checker.hpp"

namespace corelane::perf {

PipelineLoad::MakeChecker PipelineLoad::compare() {
  return [](const MessageRing& ring, std::size_t first) {
    return std::make_unique<ReplyChecker>(ring, first);
  };
}

runtime::Task<runtime::Result<void>> PipelineLoad::open() {
  if (make_ring_) {
    conversation_.emplace(context_.network);
    const auto opened = co_await conversation_->open(context_.opener);
    if (!opened) co_return runtime::Unexpected{opened.error()};
    auto ring = co_await make_ring_(context_, *conversation_);
    if (!ring) co_return runtime::Unexpected{ring.error()};
    ring_.emplace(std::move(*ring));
    conversation_->close();
  }
  for (std::uint32_t i = 0; i < context_.settings.connections; ++i) {
    const std::size_t first = i * 7 % ring_->messages();
    PipelineConnection& connection =
        connections_.emplace_back(shared_, *ring_, first, make_checker_(*ring_, first));
    const auto stream = co_await context_.opener.open(PipelineConnection::kHandler, &connection);
    if (!stream) co_return runtime::Unexpected{stream.error()};
    connection.send_by(*stream);
  }
  co_return runtime::Result<void>{};
}

std::string PipelineLoad::describe_lost() const {
  std::uint64_t waiting = 0;
  for (const PipelineConnection& connection : connections_) waiting += connection.unanswered() != 0;
  return fmt::format("{} messages on {} connections were never answered", outstanding(), waiting);
}

net::NetworkOptions PipelineLoad::network_options(const Settings& settings,
                                                  std::size_t message_bytes) {
  net::NetworkOptions options;
  options.streams_max = settings.connections + 1;
  options.queued_bytes_max = 4 * (std::size_t{settings.depth} + 1) * message_bytes;
  options.direct_descriptors = false;
  return options;
}

}  // namespace corelane::perf
