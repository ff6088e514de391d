#pragma once
// The settings that belong to no service: of the process, the runtime, the network, HTTP and
// WebSocket. settings_of() binds them to a server's options, in this order.

#include <span>

#include "services/config/rows.hpp"
#include "services/node/settings.hpp"

namespace corelane::services {

using ServerRow = config::Row<ServerOptions>;
using ServerRows = std::span<const ServerRow>;

ServerRows server_rows() noexcept;
ServerRows limit_rows() noexcept;
ServerRows connection_rows() noexcept;  // the rest of the limits, behind those of the services
ServerRows websocket_rows() noexcept;
ServerRows http_rows() noexcept;
ServerRows runtime_rows() noexcept;
ServerRows log_rows() noexcept;

}  // namespace corelane::services
