#pragma once
// Listener: a subscriber that is no session: a coroutine that receives from a channel
// (channel_reader.hpp), later a sync shape or a link to another node.

#include <cstdint>

#include "services/sessions/sessions.hpp"

namespace corelane::services {

class Listener : public Subscriber {
 public:
  // Events of a channel that it is subscribed to, in the channel's order. False: it takes nothing
  // more, and the events count as not delivered. Must not call PubSub; what it keeps of the bytes
  // it keeps by a handle of the block.
  virtual bool on_run(const EventRun& run) noexcept = 0;

 protected:
  // Makes it known to this core's PubSub, and forgets it with all its subscriptions.
  Listener();
  ~Listener();

 private:
  friend class PubSub;
  std::uint32_t slot_ = 0;
  std::uint32_t generation_ = 0;
};

}  // namespace corelane::services
