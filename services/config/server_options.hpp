#pragma once
// From the configuration that people write (services/config/config.hpp) to the options of what
// runs. Pure functions of a ServerConfig that load_config() has checked.

#include <vector>

#include "net/http/server.hpp"
#include "net/network.hpp"
#include "runtime/address.hpp"
#include "runtime/ring.hpp"
#include "services/config/config.hpp"
#include "services/node/node.hpp"
// tidy: allow service_surface: the options of the process are part of what is mapped
#include "services/node/process.hpp"
#include "ws/endpoint.hpp"

namespace corelane::services::config {

// `config` has resolved cores: see resolve_host_defaults().
net::NetworkOptions network_options(const ServerConfig& config);
net::http::ServerOptions http_options(const ServerConfig& config);
ws::EndpointOptions websocket_options(const ServerConfig& config);
// The rights of Unix sockets.
runtime::ListenOptions listen_options(const ServerConfig& config);
services::NodeOptions node_options(const ServerConfig& config);
services::ProcessOptions process_options(const ServerConfig& config, const std::vector<int>& cpus);

std::vector<runtime::Address> parse_addresses(const std::vector<std::string>& texts);

// Fills in what the configuration leaves to the host: the number of cores, the node's name.
void resolve_host_defaults(ServerConfig& config, const std::vector<int>& cpus,
                           const std::string& host_name);

}  // namespace corelane::services::config
