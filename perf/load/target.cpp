#include "perf/load/target.hpp"

namespace corelane::perf {

runtime::Result<Target> Target::parse(std::string_view url) {
  Target target;
  target.url = url;
  std::string_view rest = url;
  const auto begins_with = [&](std::string_view prefix, Scheme scheme) {
    if (!rest.starts_with(prefix)) return false;
    target.scheme = scheme;
    rest.remove_prefix(prefix.size());
    return true;
  };
  if (!begins_with("ws://", Scheme::ws) && !begins_with("tcp://", Scheme::tcp) &&
      !begins_with("http://", Scheme::http)) {
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

}  // namespace corelane::perf
