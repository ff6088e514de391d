#include "tests/support/simulated.hpp"

namespace corelane::tests {

const bool kIsSimulated = false;

}  // namespace corelane::tests
