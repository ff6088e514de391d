#include "net/connect.hpp"

#include <utility>

namespace corelane::net {

using runtime::Address;
using runtime::ErrorCode;
using runtime::Result;
using runtime::Task;

namespace {

Task<Result<void>> try_address(Address address, TcpStream* winner) {
  auto stream = co_await TcpStream::connect(address);
  if (!stream) co_return runtime::Unexpected{stream.error()};
  // One that comes too late is closed by its destructor.
  if (*winner) co_return runtime::fail(ErrorCode::cancelled);
  *winner = std::move(*stream);
  co_return Result<void>{};
}

}  // namespace

Task<Result<TcpStream>> connect_first(std::vector<Address> addresses, runtime::Duration delay) {
  std::vector<Address> order = interleave_families(addresses);
  if (order.size() > kAddressesMax) order.resize(kAddressesMax);
  TcpStream winner;
  Attempt attempt = [&winner](Address address) { return try_address(address, &winner); };
  const auto won = co_await race(std::move(order), std::move(attempt), delay.nanoseconds());
  if (!won) co_return runtime::Unexpected{won.error()};
  co_return std::move(winner);
}

Task<Result<TcpStream>> connect(std::string name, std::uint16_t port, Resolver resolver) {
  auto addresses = co_await resolve(std::move(name), port, std::move(resolver));
  if (!addresses) co_return runtime::Unexpected{addresses.error()};
  co_return co_await connect_first(std::move(*addresses));
}

}  // namespace corelane::net
