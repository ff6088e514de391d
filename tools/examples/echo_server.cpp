// The smallest server with an opcode of its own: what a client sends under opcode 200 comes back.
//
//   build/release/tools/examples/echo_server --listen 127.0.0.1:9000

#include <framework.hpp>

int main(int argc, char** argv) {
  framework::app app;
  app.on(200, "echo", [](framework::request& request) { request.reply(request.payload()); });
  return app.run(argc, argv);
}
