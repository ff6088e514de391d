#pragma once
// How the peers on Boost.Asio listen: at an address as our examples take it, and they say where.

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <cstdio>
#include <cstdlib>
#include <string>

using ReusePort = boost::asio::detail::socket_option::boolean<SOL_SOCKET, SO_REUSEPORT>;

inline boost::asio::ip::tcp::acceptor listen_at(boost::asio::io_context& context,
                                                const std::string& where, bool shares_port = false,
                                                bool is_quiet = false) {
  namespace ip = boost::asio::ip;
  const std::size_t colon = where.rfind(':');
  const auto port =
      static_cast<std::uint16_t>(std::strtoul(where.c_str() + colon + 1, nullptr, 10));
  ip::tcp::endpoint endpoint(ip::make_address(where.substr(0, colon)), port);
  ip::tcp::acceptor acceptor(context, endpoint.protocol());
  acceptor.set_option(ip::tcp::acceptor::reuse_address(true));
  if (shares_port) acceptor.set_option(ReusePort(true));
  acceptor.bind(endpoint);
  acceptor.listen();
  endpoint = acceptor.local_endpoint();
  if (!is_quiet) {
    std::printf("listening on %s:%u\n", endpoint.address().to_string().c_str(),
                static_cast<unsigned>(endpoint.port()));
    std::fflush(stdout);
  }
  return acceptor;
}
