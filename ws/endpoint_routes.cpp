#include "ws/endpoint_routes.hpp"

#include <algorithm>
#include <stdexcept>

#include "ws/handshake.hpp"

namespace corelane::ws {

using Outcome = net::http::UpgradeOutcome;

namespace {

// True if `earlier`, added first, would get some handshakes with subprotocols of `later`.
bool hides(const HandshakePolicy& earlier, const HandshakePolicy& later) noexcept {
  if (later.subprotocols.empty()) return !earlier.is_subprotocol_required;
  return std::ranges::any_of(later.subprotocols, [&earlier](const std::string& subprotocol) {
    return std::ranges::find(earlier.subprotocols, subprotocol) != earlier.subprotocols.end();
  });
}

}  // namespace

void EndpointRoutes::add(std::string_view pattern, Endpoint& endpoint) {
  endpoint.options().handshake.check_subprotocols();
  const auto there = std::ranges::find(shared_, pattern, &Shared::pattern);
  if (there == shared_.end()) {
    router_.add("GET", pattern, static_cast<std::uint32_t>(shared_.size()));
    shared_.push_back({.pattern = std::string{pattern}, .endpoints = {&endpoint}});
    return;
  }
  for (const Endpoint* earlier : there->endpoints) {
    if (!hides(earlier->options().handshake, endpoint.options().handshake)) continue;
    throw std::invalid_argument("an endpoint at " + there->pattern +
                                " has the subprotocols of another one there");
  }
  there->endpoints.push_back(&endpoint);
}

Endpoint& EndpointRoutes::choose(const Shared& shared, const net::http::Request& request) noexcept {
  if (shared.endpoints.size() == 1) [[likely]]
    return *shared.endpoints.front();
  Endpoint* fallback = nullptr;
  for (Endpoint* endpoint : shared.endpoints) {
    const HandshakePolicy& policy = endpoint->options().handshake;
    if (!choose_subprotocol(request, policy).empty()) return *endpoint;
    if (fallback == nullptr && !policy.is_subprotocol_required) fallback = endpoint;
  }
  return fallback != nullptr ? *fallback : *shared.endpoints.front();
}

Outcome EndpointRoutes::upgrade(void* routes, net::Stream& stream,
                                const net::http::Request& request) {
  using net::http::RouteMatch;
  using net::http::Status;
  auto& self = *static_cast<EndpointRoutes*>(routes);
  // Whatever its method is: the endpoint says what it must be.
  const std::uint32_t* index = self.router_.lookup("GET", request.path, self.match_);
  if (index != nullptr) [[likely]]
    return choose(self.shared_[*index], request).answer(stream, request, self.match_);
  if (!is_upgrade(request)) return {.kind = Outcome::Kind::not_an_upgrade};
  const bool is_malformed = self.match_.outcome() == RouteMatch::Outcome::malformed;
  return {.kind = Outcome::Kind::rejected,
          .status = is_malformed ? Status::bad_request : Status::not_found,
          .reason = is_malformed ? "malformed path" : ""};
}

}  // namespace corelane::ws
