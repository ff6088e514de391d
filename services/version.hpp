#pragma once
// The version of this server; the build passes the project's.

#include <string_view>

namespace corelane::services {

std::string_view version() noexcept;

}  // namespace corelane::services
