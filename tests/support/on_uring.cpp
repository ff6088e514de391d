#include "tests/support/simulated.hpp"

namespace corelane::tests {

const bool kIsSimulated = false;
const char* const kDeathTestStyle = "threadsafe";

}  // namespace corelane::tests
