#pragma once
// Greeter: an example of a service, with one opcode, one setting, one HTTP route and one metric.
// Adding it touches:
//
//   greeter.hpp, greeter.cpp  the service
//   meson.build               its source
//   a line where it runs      app.service<Greeter>("greeter", options), of framework::app
//
// A service of the server itself has in the place of the last: its options in NodeOptions, a line
// in services/node/services.cpp, and its opcode in protocol/schema.fbs.

#include <cstdint>
#include <span>
#include <string>

#include "services/local.hpp"
#include "services/service.hpp"

namespace corelane::tests {

struct GreeterOptions {
  std::string name = "world";
};

class Greeter : public services::Service {
 public:
  static constexpr auto kOpcode = static_cast<protocol::Opcode>(100);

  explicit Greeter(const GreeterOptions& options);
  ~Greeter() override;

  static Greeter& local() noexcept {
    return services::local<Greeter>(services::ServiceSlot::application);
  }
  static std::span<const services::OpcodeRow> opcodes() noexcept;
  static std::span<const services::config::Row<GreeterOptions>> settings() noexcept;
  static std::span<const services::MetricRow> metrics() noexcept;

  void add_routes(net::http::Routes& routes) override;
  void session_ended(services::Session&) noexcept override { ++counters_.sessions_ended; }

  std::string greet();

  struct Counters {
    std::uint64_t greetings = 0;
    std::uint64_t sessions_ended = 0;
  };
  const Counters& counters() const noexcept { return counters_; }

 private:
  const std::string name_;
  Counters counters_;
};

}  // namespace corelane::tests
