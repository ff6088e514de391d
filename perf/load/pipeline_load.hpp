#pragma once
// PipelineLoad: connections that all do the same with one ring of messages: echo, ping, http, resp.
// Each begins at another message of the ring.

#include <deque>
#include <optional>
#include <string>
#include <utility>

#include "perf/load/load.hpp"
#include "perf/load/message_ring.hpp"
#include "perf/load/pipeline_connection.hpp"
#include "perf/load/reply_checker.hpp"

namespace perf {

class PipelineLoad final : public Load {
 public:
  using Connection = PipelineConnection<ReplyChecker>;

  PipelineLoad(LoadContext& context, MessageRing ring)
      : Load(context), ring_(std::move(ring)), shared_{.context = context} {}

  runtime::Task<runtime::Result<void>> open() override;
  void start() override;
  void offer(runtime::Nanoseconds due) override;
  void stop() override;
  std::uint64_t outstanding() const noexcept override { return shared_.offered - shared_.answered; }
  std::string describe_lost() const override;

  // What the client's own network needs for that: room for what is queued, which the depth bounds.
  static net::NetworkOptions network_options(const Settings& settings, std::size_t message_bytes);

 private:
  MessageRing ring_;
  PipelineShared shared_;
  std::deque<Connection> connections_;  // streams point into it
  std::size_t next_offer_ = 0;
};

}  // namespace perf
