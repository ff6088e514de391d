#pragma once
// The connect load: opens and closes connections repeatedly, a fixed number at once. A connection
// counts when it is open: for WebSocket after the handshake. Then the client closes (FIN) and waits
// until the server has closed too. So each connection costs the server an accept, a handshake and a
// close.

#include <cstdint>
#include <string>

#include "perf/load/load.hpp"
#include "runtime/task_group.hpp"
#include "runtime/wait_queue.hpp"

namespace corelane::perf {

class ConnectLoad final : public Load {
 public:
  explicit ConnectLoad(LoadContext& context) noexcept : Load(context) {}

  runtime::Task<runtime::Result<void>> open() override;
  void start() override {}
  void offer(runtime::Nanoseconds) override {}
  void stop() override {}
  std::uint64_t outstanding() const noexcept override { return begun_ - ended_; }
  std::string describe_lost() const override;
  runtime::Task<void> background() override;

 private:
  static runtime::Task<void> churn(ConnectLoad* load);

  std::uint64_t begun_ = 0;
  std::uint64_t ended_ = 0;
};

}  // namespace corelane::perf
