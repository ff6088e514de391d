#pragma once
// The send load: pairs of sessions; one sends opcode Send, the other must get each message once and
// in order. The server says on which core a session is, and pairs are made across cores as far as
// there are some on several.

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "perf/load/conversation.hpp"
#include "perf/load/load.hpp"
#include "perf/load/message_ring.hpp"
#include "perf/load/pipeline_connection.hpp"
#include "perf/load/quiet_stream.hpp"
#include "perf/load/reply_checker.hpp"
#include "protocol/uuid.hpp"

namespace perf {

class SendLoad final : public Load {
 public:
  // Settings: connections is pairs.
  explicit SendLoad(LoadContext& context);

  runtime::Task<runtime::Result<void>> open() override;
  void start() override;
  void offer(runtime::Nanoseconds due) override;
  void stop() override;
  std::uint64_t outstanding() const noexcept override { return shared_.offered - shared_.answered; }
  std::string describe_lost() const override;
  std::string own_json() const override;
  std::string own_text() const override;

  static net::NetworkOptions network_options(const Settings& settings);

 private:
  using Pair = PipelineConnection;
  struct Session {
    Conversation conversation;  // the stream's owner until it is paired
    protocol::Uuid id{};
    std::uint16_t core = 0;
  };

  runtime::Task<runtime::Result<void>> open_session();
  void pair(Session& sender, Session& receiver);

  std::unique_ptr<FanoutProtocol> protocol_;
  std::deque<Session> sessions_;
  std::deque<MessageRing> rings_;  // a pair
  std::deque<Pair> pairs_;         // streams point into it
  QuietStream::Events sender_events_;
  std::deque<QuietStream> senders_;
  PipelineShared shared_;
  std::size_t next_offer_ = 0;
  std::uint32_t across_cores_ = 0;
};

}  // namespace perf
