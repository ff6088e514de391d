#pragma once
// A second reader of HTTP heads, Boost.Beast's parser, for tests that compare. Behind a header of
// its own because it is slow to compile.

#include <string>
#include <string_view>

#include "net/http/head_check.hpp"
#include "net/http/limits.hpp"

namespace corelane::tests {

// Reads the head that `stream` begins with. If net::http::HeadCheck takes it, Beast must take it
// too and find the same parts and fields in it; where only a value is wrong (has_bad_value), Beast
// must refuse it. Empty if that is so, else what differs.
std::string difference_to_beast(std::string_view stream, net::http::HeadCheck::Kind kind,
                                const net::http::Limits& limits = {});

}  // namespace corelane::tests
