#pragma once
// Finds settings that are accepted and have no effect beside the others. A part of load_config().

#include <cstdint>

#include "services/config/config.hpp"

namespace corelane::services::config {

enum class ServedBy : std::uint8_t { serve, echo };

// Appends a warning for each; nothing for settings that have their defaults.
void warn_of_ineffective_settings(ConfigResult& result, ServedBy served_by);

}  // namespace corelane::services::config
