#pragma once
// What a load has found, as text for people and as one line of JSON for scripts. Pure functions.

#include <string>

#include "perf/load/echo_load.hpp"
#include "perf/load/idle_load.hpp"

namespace perf {

std::string to_text(const EchoOptions& options, const EchoResult& result);
std::string to_json(const EchoOptions& options, const EchoResult& result);
std::string to_text(const IdleOptions& options, const IdleResult& result);
std::string to_json(const IdleOptions& options, const IdleResult& result);

}  // namespace perf
