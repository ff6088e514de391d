// A text protocol at a path of its own, beside the opcode protocol on the same port. A client that
// connects to /text/NAME?token=TOKEN with a known token may send lines "CHANNEL TEXT". Each line is
// published, and reaches the subscribers of the opcode protocol at "/".
//
//   build/release/tools/examples/text_server --listen 127.0.0.1:9000
//   corelane sub -u ws://127.0.0.1:9000/ news &
//   websocat 'ws://127.0.0.1:9000/text/ann?token=swordfish'     # and then: news hello

#include <fmt/core.h>

#include <memory>
#include <string>
#include <string_view>

#include <framework.hpp>

namespace {

// Tokens are kept on core 0 alone, as a service would keep them: every other core has to ask.
bool is_known(const std::string& token) {
  return token == "swordfish";
}

// Before the handshake is answered: a client without a known token never gets a connection.
framework::task<framework::admission> check_token(const framework::handshake& asked) {
  const std::string token{asked.query_value("token")};
  const bool known =
      co_await framework::submit_to(framework::core_id{0}, [token] { return is_known(token); });
  if (!known) {
    co_return framework::admission::refuse(framework::http_status::unauthorized,
                                           "this token is not known",
                                           {{.name = "WWW-Authenticate", .value = "Bearer"}});
  }
  co_return framework::admission::admit(std::make_unique<std::string>(asked.parameter("name")));
}

void greet(framework::websocket& peer, framework::handshake& asked) {
  auto name = asked.take_state<std::string>();
  framework::send_text(peer, "hello, " + *name);
  peer.set_context(name.release());  // forget() has it
}

void publish_line(framework::websocket& peer, std::string_view line) {
  const std::size_t space = line.find(' ');
  if (space == line.npos) {
    framework::send_text(peer, "a line is CHANNEL TEXT");
    return;
  }
  const auto& name = *static_cast<const std::string*>(peer.context());
  framework::publish(line.substr(0, space), fmt::format("{}: {}", name, line.substr(space + 1)));
}

void forget(framework::websocket& peer, framework::close_code, std::string_view) {
  delete static_cast<std::string*>(peer.context());
}

}  // namespace

int main(int argc, char** argv) {
  framework::app app;
  app.on_websocket("/text/:name", {.subprotocols = {"text.v1"},
                                   .admit = check_token,
                                   .on_open = greet,
                                   .on_text = publish_line,
                                   .on_close = forget});
  return app.run(argc, argv);
}
