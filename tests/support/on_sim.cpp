#include "tests/support/simulated.hpp"

namespace corelane::tests {

const bool kIsSimulated = true;
const char* const kDeathTestStyle = "fast";

}  // namespace corelane::tests
