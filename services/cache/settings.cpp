// The settings of the cache.

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include "services/cache/cache.hpp"
#include "services/config/rows.hpp"
#include "services/config/value.hpp"

namespace corelane::services {
namespace {

using config::kMiB;

// "session: ttl=30m memory=64MiB": a prefix without blanks, and what holds for its keys. `problem`
// says what is wrong.
CacheNamespaceOptions parse_namespace(std::string_view text, std::size_t cores,
                                      std::string& problem) {
  CacheNamespaceOptions space;
  const auto word = [&text] {
    const std::size_t end = std::min(text.find(' '), text.size());
    const std::string_view first = text.substr(0, end);
    text.remove_prefix(std::min(text.size(), text.find_first_not_of(' ', end)));
    return first;
  };
  space.prefix = word();
  if (space.prefix.empty() || space.prefix.size() > kCacheKeyBytesMax) {
    problem = "begins with no prefix";
  }
  while (!text.empty() && problem.empty()) {
    const std::string_view part = word();
    if (part.starts_with("ttl=")) {
      const auto ttl = config::parse_duration(part.substr(4));
      if (!ttl.value) {
        problem = fmt::format("{}: {}", part, ttl.problem);
      } else if (*ttl.value < runtime::kMillisecond) {
        problem = fmt::format("{}: is shorter than 1ms", part);
      } else {
        space.default_ttl_ms = static_cast<std::uint64_t>(*ttl.value / runtime::kMillisecond);
      }
    } else if (part.starts_with("memory=")) {
      const auto bytes = config::parse_bytes(part.substr(7));
      if (!bytes.value) {
        problem = fmt::format("{}: {}", part, bytes.problem);
      } else if (*bytes.value < 64 * 1024 * cores) {
        problem = fmt::format("{}: is less than 64KiB a core", part);
      } else {
        space.bytes_max = static_cast<std::size_t>(*bytes.value / cores);
      }
    } else {
      problem = fmt::format("has \"{}\"; known are ttl=DURATION and memory=BYTES", part);
    }
  }
  return space;
}

std::string check_namespace(std::string_view text) {
  std::string problem;
  parse_namespace(text, 1, problem);
  return problem;
}

constexpr config::Row<CacheServiceOptions> kSettings[] = {
    config::bytes<&CacheServiceOptions::memory_bytes_max>(
        {"cache", "memory_bytes_max", "cache-memory"}, {kMiB, 1024 * 1024 * kMiB, config::kZeroToo},
        "most memory of the cache, on all cores together; 0: a quarter of limits.memory_bytes_max"),
    config::bytes<&CacheServiceOptions::key_bytes_max>({"cache", "key_bytes_max"},
                                                       {1, kCacheKeyBytesMax}, "longest key"),
    config::list<&CacheServiceOptions::namespaces>(
        {"cache", "namespaces"},
        {check_namespace, "PREFIX [ttl=DURATION] [memory=BYTES]", "session: ttl=30m memory=64MiB"},
        "keys with a prefix that have a time to live or a part of the memory of their own"),
    config::bytes<&CacheServiceOptions::value_bytes_max>({"cache", "value_bytes_max"},
                                                         {1, kCacheValueBytesMax}, "largest value"),
};

}  // namespace

std::vector<CacheNamespaceOptions> cache_namespaces(const CacheServiceOptions& options,
                                                    std::size_t cores) {
  std::vector<CacheNamespaceOptions> spaces;
  for (const std::string& text : options.namespaces) {
    std::string problem;
    spaces.push_back(parse_namespace(text, cores, problem));
    const auto is_same = [&](const CacheNamespaceOptions& other) {
      return other.prefix == spaces.back().prefix;
    };
    if (problem.empty() && std::any_of(spaces.begin(), spaces.end() - 1, is_same)) {
      problem = "is the second with its prefix";
    }
    if (problem.empty() && spaces.size() >= kCacheNamespacesMax) {
      problem = fmt::format("is one more than {}", kCacheNamespacesMax - 1);
    }
    if (problem.empty()) continue;
    throw std::invalid_argument(fmt::format("cache.namespaces: \"{}\" {}", text, problem));
  }
  return spaces;
}

std::span<const config::Row<CacheServiceOptions>> Cache::settings() noexcept {
  return kSettings;
}

}  // namespace corelane::services
