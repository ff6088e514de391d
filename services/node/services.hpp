#pragma once
// The services of a node: the one list that names them, and what the node makes of it.

#include <memory>
#include <span>
#include <vector>

#include "services/node/node.hpp"
#include "services/service.hpp"

namespace corelane::services {

// All services, the application's (NodeOptions::services) included, bound to `options`. In this
// order they are made: one may use those before it.
std::vector<ServiceEntry> services_of(NodeOptions& options);

}  // namespace corelane::services
