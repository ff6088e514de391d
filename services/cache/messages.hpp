#pragma once
// The messages between the Cache instances of two cores. A call goes to the owner and comes back;
// the owner asks nobody, so requests form no cycle.

#include "services/cache/calls.hpp"

namespace corelane::services {

struct CacheCallMessage {
  CacheCall* call;  // of the asking core; the owner may use it until it has sent it back
  std::size_t lane_bytes() const noexcept { return sizeof(CacheCall) + call->large_bytes; }
  void deliver(runtime::CoreId from) const;
};

struct CacheAnswerMessage {
  CacheCall* call;
  std::size_t lane_bytes() const noexcept {
    return call->has_block ? sizeof(CacheCall) + call->value_bytes : sizeof(CacheCall);
  }
  void deliver(runtime::CoreId) const;
};

}  // namespace corelane::services
