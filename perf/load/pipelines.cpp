#include "perf/load/pipelines.hpp"

namespace corelane::perf {

void Pipelines::start() {
  for (PipelineConnection& connection : connections_) connection.start();
}

void Pipelines::offer(runtime::Nanoseconds due) {
  connections_[next_offer_].offer(due);
  next_offer_ = next_offer_ + 1 == connections_.size() ? 0 : next_offer_ + 1;
}

void Pipelines::stop() {
  for (PipelineConnection& connection : connections_) connection.drop_waiting();
}

}  // namespace corelane::perf
