#include "tools/connecting.hpp"

#include <fmt/core.h>
#include <netdb.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "net/connect_race.hpp"
#include "tools/exit_code.hpp"
#include "tools/host_limits.hpp"

namespace corelane::tools {
namespace {

using runtime::Error;
using runtime::ErrorCode;
using runtime::Result;
using runtime::Task;
using Stage = ConnectProgress::Stage;

NotConnected explain_look_up(const ServerUrl& url, const ConnectProgress& progress,
                             const Error& error) {
  if (error.code == ErrorCode::timed_out) {
    return {fmt::format("the name service did not give an address of {} within the time limit "
                        "(--timeout); see /etc/resolv.conf",
                        url.name),
            kExitTimeout};
  }
  if (progress.answer.error == EAI_MEMORY) return {explain_limit(ENOMEM), kExitServerError};
  return {fmt::format("no address of {}: {}", url.name, describe(progress.answer)),
          kExitNotConnected};
}

std::string describe_connecting(const Error& error) {
  switch (error.code) {
    case ErrorCode::closed:
      return error.detail == 0
                 ? "it does not speak HTTP, or ended the connection; tcp:// is for ports of "
                   "--tcp-listen"
                 : fmt::format("it answered with HTTP status {} instead of opening a WebSocket",
                               error.detail);
    case ErrorCode::timed_out:
      return "no answer within the time limit (--timeout)";
    default:
      break;
  }
  const bool is_refused = error.code == ErrorCode::system && error.detail == ECONNREFUSED;
  return describe(error) + (is_refused ? "; is `corelane serve` running there?" : "");
}

}  // namespace

Task<Result<void>> connect(Client& client, const ServerUrl& url, Resolver resolver,
                           ConnectProgress& progress) {
  std::vector<runtime::Address> addresses;
  if (url.address) {
    addresses.push_back(*url.address);
  } else {
    auto answer = co_await look_up(url.name, std::move(resolver));
    if (!answer) co_return runtime::Unexpected{answer.error()};
    progress.answer = std::move(*answer);
    addresses = net::interleave_families(progress.answer.addresses);
    if (addresses.empty()) co_return runtime::fail(ErrorCode::invalid_argument);
    if (addresses.size() > net::kAddressesMax) addresses.resize(net::kAddressesMax);
    for (runtime::Address& address : addresses) address.set_port(url.port);
  }
  progress.stage = Stage::connecting;
  co_return co_await client.connect(url, std::move(addresses));
}

NotConnected explain(const ServerUrl& url, const ConnectProgress& progress, const Error& error) {
  const bool looks_up = progress.stage == Stage::looking_up;
  // EAGAIN of connect(2) does not mean a limit of threads.
  if (error.code == ErrorCode::system && (looks_up || error.detail != EAGAIN)) {
    const std::string limit = explain_limit(error.detail);
    if (!limit.empty()) return {limit, kExitServerError};
  }
  if (looks_up) return explain_look_up(url, progress, error);
  // The kernel gives up by itself as well, after minutes.
  const bool is_late = error.code == ErrorCode::timed_out || error == Error::from_errno(ETIMEDOUT);
  return {describe_connecting(error), is_late ? kExitTimeout : kExitNotConnected};
}

}  // namespace corelane::tools
