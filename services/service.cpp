#include "services/service.hpp"

namespace corelane::services {

Service::~Service() = default;

void Service::add_routes(net::http::Routes&) {}

void Service::drain() noexcept {}

void Service::session_opened(Session&) noexcept {}

void Service::session_ended(Session&) noexcept {}

runtime::Task<void> Service::stop() {
  co_return;
}

}  // namespace corelane::services
