#include "services/cache/calls.hpp"

#include <cstring>

#include "runtime/core.hpp"

namespace corelane::services {

CacheCall& CacheCalls::take(const CacheAsk& ask, const CacheKey& key,
                            std::span<const std::byte> value, const ReplyTo& to) {
  if (spare_.empty()) {
    all_.push_back(std::make_unique_for_overwrite<CacheCall>());
    spare_.reserve(all_.capacity());  // put_back() must not fail
    spare_.push_back(all_.back().get());
  }
  CacheCall& call = *spare_.back();
  const std::size_t bytes = key.bytes.size() + value.size();
  call.large_bytes = bytes > CacheCall::kBytes ? bytes : 0;
  if (call.large_bytes != 0) {
    call.large = std::make_unique_for_overwrite<std::byte[]>(bytes);
    runtime::Core::current().memory().add(runtime::MemoryKind::messages, bytes);
  }
  spare_.pop_back();
  call.to = to;
  call.many = {};
  call.ask = ask;
  call.hash = key.hash;
  call.key_bytes = static_cast<std::uint32_t>(key.bytes.size());
  call.value_bytes = static_cast<std::uint32_t>(value.size());
  call.has_block = false;
  std::byte* at = call.large ? call.large.get() : call.bytes.data();
  std::memcpy(at, key.bytes.data(), key.bytes.size());
  if (!value.empty()) std::memcpy(at + key.bytes.size(), value.data(), value.size());
  return call;
}

void CacheCalls::put_back(CacheCall& call) noexcept {
  RT_DEBUG_ASSERT(under_way() > 0);
  if (call.large) {
    runtime::Core::current().memory().remove(runtime::MemoryKind::messages, call.large_bytes);
    call.large.reset();
  }
  spare_.push_back(&call);
}

}  // namespace corelane::services
