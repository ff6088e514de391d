#pragma once
// The version of this program; the build passes the project's.

#include <string_view>

namespace corelane::tools {

inline constexpr std::string_view kVersion = CORELANE_VERSION;

}  // namespace corelane::tools
