#pragma once
// The send load: pairs of sessions; one sends opcode Send, the other must get each message once and
// in order. The server says on which core a session is, and pairs are made across cores as far as
// there are some on several.

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "perf/load/conversation.hpp"
#include "perf/load/message_ring.hpp"
#include "perf/load/pipelines.hpp"
#include "perf/load/quiet_stream.hpp"
#include "protocol/uuid.hpp"

namespace corelane::perf {

class SendLoad final : public Pipelines {
 public:
  // Settings: connections is pairs.
  explicit SendLoad(LoadContext& context);

  runtime::Task<runtime::Result<void>> open() override;
  std::string describe_lost() const override;
  std::string own_json() const override;
  std::string own_text() const override;

  static net::NetworkOptions network_options(const Settings& settings);

 private:
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
  QuietStream::Events sender_events_;
  std::deque<QuietStream> senders_;
  std::uint32_t across_cores_ = 0;
};

}  // namespace corelane::perf
