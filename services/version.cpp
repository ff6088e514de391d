#include "services/version.hpp"

namespace corelane::services {

std::string_view version() noexcept {
  return CORELANE_VERSION;
}

}  // namespace corelane::services
