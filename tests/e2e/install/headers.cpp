// Everything that is public, and each struct of options with some of its members named: users
// compile with warnings as errors, among them those for members without an initializer.

#include <corelane/net.hpp>
#include <corelane/runtime.hpp>
#include <corelane/runtime/sim/world.hpp>
#include <corelane/version.hpp>
#include <corelane/ws.hpp>

#include <framework.hpp>
#include <framework/service.hpp>

static_assert(CORELANE_VERSION_NUMBER == CORELANE_VERSION_MAJOR * 1'000'000 +
                                             CORELANE_VERSION_MINOR * 1'000 +
                                             CORELANE_VERSION_PATCH);

namespace net = corelane::net;
namespace runtime = corelane::runtime;
namespace services = corelane::services;
namespace ws = corelane::ws;

namespace {

template <class... Options>
void use(const Options&...) {}

}  // namespace

int main() {
  use(runtime::RuntimeOptions{.cores = 2}, runtime::RuntimeOptions{.seed = 1},
      runtime::RingOptions{.entries = 64}, runtime::ListenOptions{.backlog = 1},
      runtime::StallMonitor::Options{.threshold_ns = 1}, runtime::sim::Faults{.short_read = 1},
      runtime::sim::Checks{});
  use(net::NetworkOptions{.queued_bytes_max = 1}, net::http::ServerOptions{.handlers_max = 1},
      net::http::Limits{.fields_max = 1}, net::http::ResponseOptions{.date = ""},
      net::http::ErrorOptions{.allow = ""}, net::http::RequestOptions{.method = "GET"},
      net::StreamHandler{.name = "a",
                         .on_data = nullptr,
                         .on_end = nullptr,
                         .on_closed = nullptr,
                         .on_timer = nullptr,
                         .on_writable = nullptr});
  use(ws::EndpointOptions{.reader = {}}, ws::HandshakePolicy{.subprotocols = {"a"}},
      ws::DeflatePolicy{}, ws::ClientHandshake{.host = "a", .nonce = {}});
  use(framework::options{.listen = {"127.0.0.1:0"}}, framework::options{.cores = 1},
      framework::websocket_endpoint{.on_open = nullptr},
      services::NodeOptions{.connections_max = 1}, services::PubSubOptions{.channels_max = 1},
      services::DispatchOptions{.node_name = "a"});
}
