#pragma once
// The services of a node: the one list that names them, and what the node makes of it.

#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/exception.hpp"
#include "services/node/node.hpp"
#include "services/service.hpp"

namespace corelane::services {

// All services, the application's (NodeOptions::services) included, bound to `options`. In this
// order they are made: one may use those before it.
std::vector<ServiceEntry> services_of(NodeOptions& options);

// Calls call(), which makes a part of a service. Prefixes the text of its exceptions:
// "service NAME: ...".
template <class Call>
void for_service(std::string_view name, Call call) {
  const auto named = [name](const std::string& problem) {
    return "service " + std::string{name} + ": " + problem;
  };
  try {
    call();
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(named(error.what()));
  } catch (const std::bad_alloc&) {
    throw;
  } catch (...) {
    throw std::runtime_error(named(runtime::describe(std::current_exception())));
  }
}

}  // namespace corelane::services
