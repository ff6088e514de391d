// Handlers that wait. Opcode 200 answers after as many milliseconds as its payload says, without
// holding the core; opcode 201 asks every core how many requests it has served, and adds up, and
// so does GET /served over HTTP.
//
//   build/release/tools/examples/coroutine_server --listen 127.0.0.1:9000

#include <fmt/core.h>

#include <array>
#include <charconv>
#include <cstdint>
#include <string_view>

#include <framework.hpp>

namespace {

// One counter a core, each touched by its own core alone: no locks, no atomics. A cache line each,
// so that cores do not slow each other down.
struct alignas(64) Served {
  std::uint64_t requests = 0;
};
std::array<Served, framework::cores_max> served;

framework::task<> answer_later(framework::request request) {
  ++served[framework::this_core()].requests;
  const auto bytes = request.payload();
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  std::uint32_t delay_ms = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), delay_ms);
  if (parsed.ec != std::errc{} || delay_ms > 60'000) {
    request.fail(framework::error_code::malformed_payload, "milliseconds, at most 60000");
    co_return;
  }
  if (!co_await framework::sleep_for(framework::milliseconds(delay_ms))) {
    request.fail(framework::error_code::draining, "the server is going away");
    co_return;
  }
  request.reply(fmt::format("waited {} ms", delay_ms));
}

framework::task<std::uint64_t> count_on_all_cores() {
  std::uint64_t total = 0;
  for (framework::core_id core = 0; core < framework::core_count(); ++core) {
    total +=
        co_await framework::submit_to(core, [] { return served[framework::this_core()].requests; });
  }
  co_return total;
}

framework::task<> reply_count(framework::request request) {
  const std::uint64_t total = co_await count_on_all_cores();
  request.reply(fmt::format("{}", total));
}

framework::task<> show_count(const framework::http_request&, framework::http_responder to) {
  const std::uint64_t total = co_await count_on_all_cores();
  to.respond(framework::http_status::ok, "application/json",
             fmt::format(R"({{"served":{}}})", total));
}

}  // namespace

int main(int argc, char** argv) {
  framework::app app;
  app.on(200, "answer later", answer_later);
  app.on(201, "count", reply_count);
  app.on_http("GET", "/served", show_count);
  return app.run(argc, argv);
}
