#pragma once
// The only door to Boost.Beast: parses one whole head that the strictness check has passed. Beast
// stays behind this header because it is slow to compile. Pure code, never suspends; allocates only
// when `fields` has to grow.

#include <string_view>
#include <vector>

#include "net/http/message.hpp"

namespace net::http {

struct RequestHead {
  std::string_view method;
  std::string_view target;
};

struct ResponseHead {
  int status_code = 0;
  std::string_view reason;
};

// `head` goes from the first byte of the start line to the end of the empty line, exactly. All
// views that come out lie in it. False if Beast refuses it or sees another end: a second opinion,
// which the caller answers with 400.
bool parse_request_head(std::string_view head, RequestHead& out, std::vector<Field>& fields);
bool parse_response_head(std::string_view head, ResponseHead& out, std::vector<Field>& fields);

}  // namespace net::http
