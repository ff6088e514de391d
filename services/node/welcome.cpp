#include "services/node/welcome.hpp"

#include <array>
#include <string_view>

namespace corelane::services {
namespace {

constexpr std::string_view kPage = R"(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Corelane</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 42em; margin: 4em auto; padding: 0 1em; }
@media (prefers-color-scheme: dark) { body { background: #181a1b; color: #ddd; } }
td { padding: .2em 1.5em .2em 0; vertical-align: top; }
</style>
</head>
<body>
<h1>Corelane</h1>
<p>This is a Corelane server: real-time messaging over WebSocket, HTTP and TCP. It runs.</p>
<table>
<tr><td><code>/</code></td><td>WebSocket: binary messages of the opcode protocol.
A browser that opens it sees this page.</td></tr>
<tr><td><code>/healthz</code></td><td><code>ok</code> while every core works.</td></tr>
<tr><td><code>/readyz</code></td><td><code>ok</code>, or 503 while the server drains.</td></tr>
</table>
<p>The documents come with the source: <code>README.md</code> has the first steps,
<code>protocol/README.md</code> the messages with examples, <code>ws/README.md</code> the close
codes, <code>ARCHITECTURE.md</code> how it works and what it guarantees.
<code>corelane serve --help</code> lists the settings; <code>corelane sub</code> and
<code>corelane pub</code> are clients to try it with.</p>
</body>
</html>
)";

}  // namespace

const net::http::StaticResponse& welcome_page() {
  // Nothing that it could load, and no frame that could show it.
  static constexpr std::array<net::http::Field, 3> kFields{{
      {.name = "Content-Security-Policy",
       .value = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"},
      {.name = "X-Content-Type-Options", .value = "nosniff"},
      {.name = "Cache-Control", .value = "no-cache"},
  }};
  static const net::http::StaticResponse kResponse{net::http::Status::ok,
                                                   "text/html; charset=utf-8", kPage, kFields};
  return kResponse;
}

}  // namespace corelane::services
