#pragma once
// What flatc makes of schema.fbs, under the name that the rest of the project uses. The namespace
// `protocol.fbs` of the schema is given to clients in all languages, so it stays at global scope.

#include "protocol/schema_generated.hpp"

namespace corelane::protocol {

namespace fbs = ::protocol::fbs;

}  // namespace corelane::protocol
