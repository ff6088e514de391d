#include "tests/support/simulated.hpp"

namespace corelane::tests {

const bool kIsSimulated = true;

}  // namespace corelane::tests
