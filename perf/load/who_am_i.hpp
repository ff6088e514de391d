#pragma once
// Asks the server which session a connection is, and on which of its cores.

#include <cstdint>

#include "perf/load/conversation.hpp"
#include "perf/load/target.hpp"
#include "protocol/uuid.hpp"

namespace corelane::perf {

struct WhoAmI {
  protocol::Uuid session{};
  std::uint16_t core = 0;
};

// Errors: those of Conversation::ask().
runtime::Task<runtime::Result<WhoAmI>> ask_who_i_am(Conversation& conversation, Scheme scheme);

}  // namespace corelane::perf
