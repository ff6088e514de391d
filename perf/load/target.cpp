#include "perf/load/target.hpp"

namespace perf {

runtime::Result<Target> Target::parse(std::string_view url) {
  Target target;
  target.url = url;
  std::string_view rest = url;
  if (rest.starts_with("ws://")) {
    target.scheme = Scheme::ws;
    rest.remove_prefix(5);
  } else if (rest.starts_with("tcp://")) {
    target.scheme = Scheme::tcp;
    rest.remove_prefix(6);
  } else {
    return runtime::fail(runtime::ErrorCode::invalid_argument);
  }
  const std::size_t slash = rest.find('/');
  target.host = rest.substr(0, slash);
  if (slash != std::string_view::npos) target.path = rest.substr(slash);
  const auto address = runtime::Address::parse(target.host);
  if (!address) return runtime::Unexpected{address.error()};
  target.address = *address;
  return target;
}

}  // namespace perf
