// Handlers that use what clients use: channels, sends to other sessions.
//
//   opcode 200  "lobby": subscribes to the channel that the payload names, announces itself there,
//               and answers with each of the next three events of the channel
//   opcode 201  "<session id> <text>": sends the text to another session, and answers whether it
//               was there (corelane whoami and corelane sub show the id of a session)
//
//   build/release/tools/examples/channel_server --listen 127.0.0.1:9000

#include <fmt/core.h>

#include <string>
#include <string_view>

#include <framework.hpp>

namespace {

std::string_view text_of(framework::bytes bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

framework::task<> follow(framework::request request) {
  const std::string channel(text_of(request.payload()));
  framework::channel_reader reader;
  const auto joined = co_await reader.subscribe(channel);
  if (!joined || joined->code() != framework::error_code::none) {
    request.fail(framework::error_code::channel_name_invalid, "cannot follow this channel");
    co_return;
  }
  const std::string greeting = fmt::format("here from {} on", joined->offset());
  framework::publish(channel, greeting);
  for (int left = 3; left > 0; --left) {
    const auto event = co_await reader.next();
    if (!event) co_return;  // the server is going away
    request.reply(fmt::format("{}: {}", event->offset, text_of(event->data)));
  }
}

framework::task<> whisper(framework::request request) {
  constexpr std::size_t kIdChars = 36;
  const std::string_view words = text_of(request.payload());
  const auto session = framework::parse_uuid(words.substr(0, kIdChars));
  if (!session || words.size() <= kIdChars) {
    request.fail(framework::error_code::malformed_payload, "<session id> <text>");
    co_return;
  }
  const auto sent = co_await framework::send_and_wait(*session, words.substr(kIdChars + 1));
  if (!sent) co_return;
  request.reply(sent->code == framework::error_code::none ? "delivered" : "not there");
}

}  // namespace

int main(int argc, char** argv) {
  framework::app app;
  app.on(200, "follow", follow);
  app.on(201, "whisper", whisper);
  return app.run(argc, argv);
}
