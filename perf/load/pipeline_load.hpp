#pragma once
// PipelineLoad: connections that all do the same with one ring of messages: echo, ping, http, resp.
// Each begins at another message of the ring.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "perf/load/answer_checker.hpp"
#include "perf/load/conversation.hpp"
#include "perf/load/message_ring.hpp"
#include "perf/load/pipelines.hpp"

namespace corelane::perf {

class PipelineLoad final : public Pipelines {
 public:
  // Before the load begins, on a connection of its own: asks what must be asked, and makes the
  // ring. An error is the run's.
  using MakeRing =
      std::function<runtime::Task<runtime::Result<MessageRing>>(LoadContext&, Conversation&)>;

  // For answers that are known byte for byte (ReplyChecker) no maker is given.
  using MakeChecker =
      std::function<std::unique_ptr<AnswerChecker>(const MessageRing&, std::size_t first)>;
  PipelineLoad(LoadContext& context, MessageRing ring, MakeChecker make_checker = compare())
      : Pipelines(context), ring_(std::move(ring)), make_checker_(std::move(make_checker)) {}
  PipelineLoad(LoadContext& context, MakeRing make_ring)
      : Pipelines(context), make_ring_(std::move(make_ring)), make_checker_(compare()) {}

  runtime::Task<runtime::Result<void>> open() override;
  std::string describe_lost() const override;

  // What the client's own network needs for that: room for what is queued, which the depth bounds.
  static net::NetworkOptions network_options(const Settings& settings, std::size_t message_bytes);

 private:
  static MakeChecker compare();

  MakeRing make_ring_;
  std::optional<Conversation> conversation_;  // its stream points to it
  std::optional<MessageRing> ring_;
  MakeChecker make_checker_;
};

}  // namespace corelane::perf
