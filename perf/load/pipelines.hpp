#pragma once
// Pipelines: what loads have in common that are many pipeline connections: all start at once, and
// what is offered goes to them in turn. Not a load yet: how they are opened is left open.

#include <cstddef>
#include <deque>

#include "perf/load/load.hpp"
#include "perf/load/pipeline_connection.hpp"

namespace corelane::perf {

class Pipelines : public Load {
 public:
  explicit Pipelines(LoadContext& context) : Load(context), shared_{.context = context} {}

  void start() override;
  void offer(runtime::Nanoseconds due) override;
  void stop() override;
  std::uint64_t outstanding() const noexcept override { return shared_.offered - shared_.answered; }

 protected:
  PipelineShared shared_;
  std::deque<PipelineConnection> connections_;  // streams point into it

 private:
  std::size_t next_offer_ = 0;
};

}  // namespace corelane::perf
