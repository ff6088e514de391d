#pragma once
// The options of the cache (services/cache/cache.hpp); their settings are in settings.cpp.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "services/cache/types.hpp"

namespace corelane::services {

struct CacheServiceOptions {
  std::uint64_t memory_bytes_max = 0;  // of all cores; 0: a quarter of limits.memory_bytes_max
  std::size_t key_bytes_max = kCacheKeyBytesMax;
  std::size_t value_bytes_max = kCacheValueBytesMax;
  // "PREFIX" and, behind it, any of " ttl=DURATION" and " memory=BYTES" (of all cores together).
  std::vector<std::string> namespaces{};
  std::uint64_t hash_seed = 0;  // the same on all cores of a process, different in each process
};

}  // namespace corelane::services
