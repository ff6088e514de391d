#pragma once
// What a load has found, as text for people, as one line of JSON for scripts, and its seconds as
// CSV. Pure functions. README.md describes the fields.

#include <string>

#include "perf/load/idle_load.hpp"
#include "perf/load/load_driver.hpp"
#include "perf/load/settings.hpp"

namespace corelane::perf {

std::string to_text(const Settings& settings, const LoadReport& report);
std::string to_json(const Settings& settings, const LoadReport& report);
std::string to_csv(const LoadReport& report);
std::string to_text(const Settings& settings, const IdleResult& result);
std::string to_json(const Settings& settings, const IdleResult& result);

}  // namespace corelane::perf
