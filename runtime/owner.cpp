#include "runtime/owner.hpp"

#include <array>
#include <cstdio>
#include <cstdlib>

#include "runtime/log.hpp"

namespace corelane::runtime::detail {

void used_on_another_core(const char* what, CoreId owner, CoreId user) noexcept {
  std::array<char, 32> place{"a thread that is no core"};
  if (user != kNoCore) std::snprintf(place.data(), place.size(), "core %u", unsigned{user});
  std::array<char, 256> text;
  const int bytes =
      std::snprintf(text.data(), text.size(),
                    "a %.64s of core %u is used on %s: it belongs to one core; cross over "
                    "with submit_to, call_on or post\n",
                    what, unsigned{owner}, place.data());
  log_last_words({text.data(), static_cast<std::size_t>(bytes)});
  std::abort();
}

}  // namespace corelane::runtime::detail
