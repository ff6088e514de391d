#include "tests/unit/services/greeter/greeter.hpp"

#include "net/http/responder.hpp"
#include "services/config/rows.hpp"
#include "services/dispatch/dispatch.hpp"
#include "services/sessions/sessions.hpp"

namespace corelane::tests {
namespace {

void serve_greet(services::Dispatch&, services::Session& session,
                 const protocol::MessageView& message) {
  const std::string text = Greeter::local().greet();
  session.reply(
      message.transaction_id,
      protocol::RawBody{.kOpcode = Greeter::kOpcode, .payload = std::as_bytes(std::span{text})});
}

constexpr services::OpcodeRow kRows[] = {{.opcode = Greeter::kOpcode,
                                          .name = "Greet",
                                          .cost = services::CostClass::control,
                                          .serve = serve_greet}};

std::string check_name(std::string_view text) {
  return text.size() <= 32 ? "" : "is too long";
}

constexpr services::config::Row<GreeterOptions> kSettings[] = {
    services::config::text<&GreeterOptions::name>(
        {"greeter", "name", "greeted"}, {check_name, "at most 32 bytes", "Ada"}, "who is greeted"),
};

constexpr services::MetricRow kMetrics[] = {
    {.name = "greeter_greetings_total",
     .type = services::MetricType::counter,
     .help = "Greetings.",
     .read = [](services::MetricReader& to) { to.add(Greeter::local().counters().greetings); }},
};

}  // namespace

Greeter::Greeter(const GreeterOptions& options) : name_(options.name) {
  services::Sessions::local().tell_ended(*this);
  services::set_local(services::ServiceSlot::application, this);
}

Greeter::~Greeter() {
  services::set_local(services::ServiceSlot::application, nullptr);
}

std::span<const services::OpcodeRow> Greeter::opcodes() noexcept {
  return kRows;
}

std::span<const services::config::Row<GreeterOptions>> Greeter::settings() noexcept {
  return kSettings;
}

std::span<const services::MetricRow> Greeter::metrics() noexcept {
  return kMetrics;
}

void Greeter::add_routes(net::http::Routes& routes) {
  routes.add("GET", "/greeting",
             {.run =
                  [](void* greeter, const net::http::Request&, const net::http::RouteMatch&,
                     net::http::Responder& responder) {
                    responder.respond(net::http::Status::ok, "text/plain",
                                      static_cast<Greeter*>(greeter)->greet());
                  },
              .context = this});
}

std::string Greeter::greet() {
  ++counters_.greetings;
  return "hello " + name_;
}

}  // namespace corelane::tests
