#pragma once
// Finding a service's instance on the core that runs: local<T>(slot). Each service registers itself
// when it is made and unregisters when it is destroyed, on its core.

#include <cstddef>
#include <cstdint>

#include "runtime/core.hpp"

namespace corelane::services {

// `application` is the first of those that no service of the server has; they go on to the last.
enum class ServiceSlot : std::uint8_t {
  sessions,
  pubsub,
  dispatch,
  node,
  ip_limit,
  traffic,
  metrics,
  cache,
  quota,
  application
};
static_assert(static_cast<std::size_t>(ServiceSlot::application) < runtime::Core::kServicesMax);

inline void set_local(ServiceSlot slot, void* instance) noexcept {
  runtime::Core::current().set_service(static_cast<std::size_t>(slot), instance);
}

template <class Service>
Service& local(ServiceSlot slot) noexcept {
  void* instance = runtime::Core::current().service(static_cast<std::size_t>(slot));
  RT_DEBUG_ASSERT(instance != nullptr);
  return *static_cast<Service*>(instance);
}

}  // namespace corelane::services
