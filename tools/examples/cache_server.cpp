// A handler that takes long, and the cache in front of it. Opcode 200 renders the page that its
// payload names, which takes 50 ms, at most once in 10 seconds, however many clients on however
// many cores ask for it at once. Opcode 201 counts visits of a page.
//
//   build/release/tools/examples/cache_server --listen 127.0.0.1:9000

#include <fmt/core.h>

#include <string>
#include <string_view>

#include <framework.hpp>

namespace {

std::string text_of(const framework::request& request) {
  const auto bytes = request.payload();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

struct render {
  std::string name;

  framework::task<std::string> operator()() const {
    co_await framework::sleep_for(framework::milliseconds(50));
    co_return fmt::format("<h1>{}</h1>", name);
  }
};

framework::task<> page(framework::request request) {
  const std::string name = text_of(request);
  const auto got = co_await framework::cache.get_or_compute("page:" + name, framework::seconds(10),
                                                            render{name});
  if (!got) co_return;  // the server stops
  if (got->code != framework::error_code::none) {
    request.fail(got->code, "the page cannot be rendered");
    co_return;
  }
  request.reply(got->value.text());
}

framework::task<> visit(framework::request request) {
  const std::string key = "visits:" + text_of(request);
  const auto visits = co_await framework::cache.increment(key);
  if (visits) request.reply(fmt::format("{}", visits->number));
}

}  // namespace

int main(int argc, char** argv) {
  framework::app app;
  app.on(200, "page", page);
  app.on(201, "visit", visit);
  return app.run(argc, argv);
}
