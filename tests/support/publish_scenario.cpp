#include "tests/support/publish_scenario.hpp"

#include <fmt/format.h>

#include <cstring>
#include <memory>
#include <vector>

#include "protocol/frame.hpp"
#include "protocol/message.hpp"
#include "protocol/verify.hpp"
#include "runtime/sharded.hpp"
#include "runtime/task_group.hpp"
#include "runtime/wait_queue.hpp"

namespace corelane::tests {

using runtime::Core;
using runtime::CoreId;
using runtime::Task;

namespace {

constexpr std::string_view kChannel = "news";

protocol::Uuid transaction(std::uint64_t number) {
  protocol::Uuid uuid{};
  std::memcpy(uuid.data, &number, sizeof number);
  return uuid;
}

std::uint64_t number_of(const protocol::Uuid& uuid) {
  std::uint64_t number = 0;
  std::memcpy(&number, uuid.data, sizeof number);
  return number;
}

// One client connection. Belongs to the core it was made on.
struct Client {
  ws::ConnectionId id;
  bool open = false;
  bool subscriber = false;
  runtime::WaitQueue changed;
  std::string problem;

  // Subscriber.
  std::uint64_t epoch = 0;
  std::uint64_t start_offset = 0;
  std::uint64_t next_offset = 0;
  std::uint64_t order_hash = 0;
  std::vector<std::uint64_t> order_hashes;  // after each event
  bool subscribed = false;

  // Publisher.
  std::uint64_t acked = 0;
  std::uint64_t last_acked = 0;

  protocol::AlignedScratch scratch;

  void complain(std::string text) {
    if (problem.empty()) problem = std::move(text);
    wake();
  }
  void wake() { changed.wake_all(runtime::WaitQueue::Outcome::granted); }

  void on_frame(std::span<const std::byte> frame) {
    const auto message = protocol::verify_message(frame);
    if (!message.ok) return complain("a message of the server is malformed");
    switch (message.view.opcode) {
      case protocol::Opcode::Event:
        return on_event(message.view);
      case protocol::Opcode::SubscribeReply:
        return on_subscribed(message.view);
      case protocol::Opcode::Ack:
        return on_ack(message.view);
      case protocol::Opcode::Error: {
        const auto error =
            protocol::verify_payload<protocol::fbs::ErrorReply>(message.view.payload, scratch);
        return complain(fmt::format("the server answers error {}: {}",
                                    static_cast<int>(error->code()),
                                    error->text() != nullptr ? error->text()->c_str() : ""));
      }
      default:
        return complain(
            fmt::format("opcode {} was not expected", protocol::number(message.view.opcode)));
    }
  }
  void on_subscribed(const protocol::MessageView& message) {
    const auto reply =
        protocol::verify_payload<protocol::fbs::SubscribeReply>(message.payload, scratch);
    if (!reply || reply->results()->size() != 1) return complain("a bad SubscribeReply");
    const auto* result = reply->results()->Get(0);
    if (result->code() != protocol::ErrorCode::none) return complain("the subscribe was refused");
    epoch = result->epoch();
    start_offset = result->offset();
    next_offset = result->offset() + 1;
    subscribed = true;
    wake();
  }
  void on_event(const protocol::MessageView& message) {
    const auto event =
        protocol::verify_payload<protocol::fbs::ChannelEvent>(message.payload, scratch);
    if (!event) return complain("a bad event");
    if (!subscribed) return complain("an event before the SubscribeReply");
    if (event->epoch() != epoch) return complain("the epoch changed");
    if (event->offset() != next_offset) {
      return complain(fmt::format("offset {} came instead of {}", event->offset(), next_offset));
    }
    ++next_offset;
    const auto data = protocol::bytes_of(event->data());
    std::uint64_t first = 0;
    if (data.size() < sizeof first) return complain("an event is too short");
    std::memcpy(&first, data.data(), sizeof first);
    for (const std::byte byte : data.subspan(sizeof first)) {
      if (byte != static_cast<std::byte>(first & 0xff)) return complain("an event's data is wrong");
    }
    order_hash = (order_hash ^ first) * 0x9e3779b97f4a7c15 + 1;
    order_hashes.push_back(order_hash);
    wake();
  }
  void on_ack(const protocol::MessageView& message) {
    const std::uint64_t number = number_of(message.transaction_id);
    if (number <= last_acked) return complain("an Ack came twice or out of order");
    last_acked = number;
    ++acked;
    wake();
  }

  static Client& of(ws::Connection& connection) {
    return *static_cast<Client*>(connection.context());
  }
  static void on_open(ws::Connection& connection, ws::Handshake&) noexcept {
    of(connection).id = connection.id();
    of(connection).open = true;
  }
  static void on_message(ws::Connection& connection, ws::Message& message) noexcept {
    for (protocol::FrameCursor cursor(message.payload(), 1 << 20); !cursor.at_end();) {
      const protocol::Frame frame = cursor.next();
      if (frame.status != protocol::FrameStatus::complete) {
        return of(connection).complain("a message of the server ends inside a frame");
      }
      of(connection).on_frame(frame.message);
    }
  }
  static void on_close(ws::Connection& connection, ws::CloseCode, std::string_view) noexcept {
    of(connection).open = false;
    of(connection).wake();
  }
  static constexpr ws::ConnectionHandler kHandler{on_open, on_message, on_close};

  template <class Body>
  bool send(ws::Endpoint& endpoint, std::uint64_t number, const Body& body) {
    ws::Connection* connection = endpoint.find(id);
    if (!open || connection == nullptr) return false;
    std::vector<std::byte> frame;
    protocol::append_frame(frame, {.transaction_id = transaction(number)}, body);
    return connection->send(ws::MessageKind::binary, frame);
  }
  Task<void> change() {
    runtime::WaitQueue::Waiter waiter{changed};
    co_await waiter;
  }
};

// One core's clients, in the network of the node's part there.
struct ClientHost {
  explicit ClientHost(services::Node* node)
      : endpoint(node->cores()->network(), ws::EndpointOptions{}, Client::kHandler, nullptr) {}
  ws::Endpoint endpoint;
  std::vector<std::unique_ptr<Client>> clients;

  // Connects until it works: in a breaking world a connection may fail a few times.
  Task<Client*> connect(runtime::Address address, bool breaking) {
    for (int attempt = 0; attempt < 100; ++attempt) {
      clients.push_back(std::make_unique<Client>());
      Client* client = clients.back().get();
      const auto connection = co_await endpoint.connect(address, address.text(), "/", client);
      if (connection) co_return client;
      if (!breaking) client->complain("cannot connect: " + describe(connection.error()));
      if (!breaking) co_return client;
    }
    co_return nullptr;
  }
};

struct Run {
  const PublishScenario& scenario;
  PublishOutcome& outcome;
  services::Node node;
  runtime::Sharded<ClientHost> hosts;
  runtime::Address address{};

  void complain(const std::string& problem) {
    if (outcome.problem.empty()) outcome.problem = problem;
  }
};

Task<void> subscribe_all(Run* run, CoreId core) {
  const std::uint32_t cores = Core::current().cores();
  ClientHost& host = run->hosts.local();
  for (std::uint32_t i = core; i < run->scenario.subscribers; i += cores) {
    Client* client = co_await host.connect(run->address, run->scenario.breaking);
    if (client == nullptr) continue;
    client->subscriber = true;
    const std::string_view names[] = {kChannel};
    client->send(host.endpoint, 1, protocol::SubscribeBody{.channels = names});
    while (client->open && !client->subscribed && client->problem.empty()) {
      co_await client->change();
    }
  }
}

// Keeps `window` publishes on their way.
Task<void> publish_share(Run* run, std::uint32_t publisher) {
  const PublishScenario& scenario = run->scenario;
  const std::uint64_t share = scenario.publishes / scenario.publishers +
                              (publisher < scenario.publishes % scenario.publishers ? 1 : 0);
  ClientHost& host = run->hosts.local();
  Client* client = co_await host.connect(run->address, scenario.breaking);
  if (client == nullptr) co_return;
  std::vector<std::byte> data(scenario.data_bytes);
  std::uint64_t sent = 0;
  while (client->acked < share && client->open && client->problem.empty()) {
    while (sent < share && sent - client->acked < scenario.window) {
      ++sent;
      const std::uint64_t content = std::uint64_t{publisher} << 40 | sent;
      std::memset(data.data(), static_cast<int>(content & 0xff), data.size());
      std::memcpy(data.data(), &content, sizeof content);
      const protocol::PublishBody body{.channel = kChannel, .data = data, .requires_ack = true};
      if (!client->send(host.endpoint, sent, body)) break;
    }
    co_await client->change();
  }
}

// Waits until every subscriber that is connected has what was ordered.
Task<void> await_events(Run* run, std::uint64_t ordered) {
  ClientHost& host = run->hosts.local();
  for (const auto& client : host.clients) {
    if (!client->subscriber) continue;
    while (client->open && client->subscribed && client->problem.empty() &&
           client->next_offset <= ordered) {
      co_await client->change();
    }
  }
}

struct CoreSummary {
  std::string problem;
  std::uint32_t complete = 0;
  std::uint32_t broken = 0;
  std::uint64_t delivered = 0;
  std::uint64_t acked = 0;
  std::uint64_t order_hash = 0;  // of those that have everything; all equal
};

CoreSummary summarise(ClientHost& host, std::uint64_t ordered) {
  CoreSummary summary;
  const auto complain = [&summary](const std::string& text) {
    if (summary.problem.empty()) summary.problem = text;
  };
  for (const auto& client : host.clients) {
    if (!client->problem.empty()) complain(client->problem);
    summary.acked += client->acked;
    if (!client->subscriber) continue;
    if (client->subscribed) summary.delivered += client->next_offset - 1 - client->start_offset;
    // A publish of a broken publisher may have been ordered after `ordered` was read.
    if (!client->subscribed || client->next_offset <= ordered) {
      ++summary.broken;
      if (client->open) complain("an open subscriber lacks events");
      continue;
    }
    ++summary.complete;
    if (ordered == 0) continue;
    // All subscribed before the first publish: start_offset is 0 for all.
    const std::uint64_t seen = client->order_hashes.at(ordered - 1);
    if (summary.order_hash == 0) summary.order_hash = seen;
    if (summary.order_hash != seen) complain("two subscribers saw two orders");
  }
  return summary;
}

template <class Function>
Task<void> on_all_cores_at_once(Function function) {
  runtime::TaskGroup group("clients");
  for (CoreId core = 0; core < Core::current().cores(); ++core) {
    group.spawn(
        "clients",
        [](CoreId on, Function run_there) -> Task<void> {
          co_await runtime::submit_to(on, [run_there, on] { return run_there(on); });
        },
        core, function);
  }
  co_await group.join();
}

}  // namespace

Task<void> run_publish_scenario(const PublishScenario& scenario, PublishOutcome& outcome) {
  services::NodeOptions options = scenario.node;
  if (options.listeners.empty()) options.listeners = {{*runtime::Address::parse("127.0.0.1:0")}};
  Run run{.scenario = scenario, .outcome = outcome, .node = services::Node(options), .hosts = {}};
  co_await run.node.start();
  if (const auto error = co_await run.node.listen()) {
    run.complain("cannot listen on " + error->address + ": " + describe(error->error));
  }
  run.address = run.node.address();
  co_await run.hosts.start(&run.node);

  co_await on_all_cores_at_once([&run](CoreId core) { return subscribe_all(&run, core); });
  {
    runtime::TaskGroup publishers("publishers");
    for (std::uint32_t i = 0; i < scenario.publishers; ++i) {
      publishers.spawn(
          "publisher",
          [](Run* of, std::uint32_t index) -> Task<void> {
            const auto core = static_cast<CoreId>(index % Core::current().cores());
            co_await runtime::submit_to(core, [of, index] { return publish_share(of, index); });
          },
          &run, i);
    }
    co_await publishers.join();
  }
  for (CoreId core = 0; core < Core::current().cores(); ++core) {
    const auto seen = co_await runtime::submit_to(core, [&run] {
      return std::pair{services::PubSub::local().counters().published,
                       run.node.cores()->sessions().count()};
    });
    outcome.ordered += seen.first;
    outcome.sessions_a_core[core] = seen.second;
  }
  const std::uint64_t ordered = outcome.ordered;
  co_await on_all_cores_at_once([&run, ordered](CoreId) { return await_events(&run, ordered); });

  std::uint64_t order_hash = 0;
  for (CoreId core = 0; core < Core::current().cores(); ++core) {
    const CoreSummary summary = co_await runtime::submit_to(
        core, [&run, ordered] { return summarise(run.hosts.local(), ordered); });
    if (!summary.problem.empty()) run.complain(summary.problem);
    outcome.complete += summary.complete;
    outcome.broken += summary.broken;
    outcome.delivered += summary.delivered;
    outcome.acked += summary.acked;
    if (order_hash == 0) order_hash = summary.order_hash;
    if (summary.order_hash != 0 && summary.order_hash != order_hash) {
      run.complain("two cores saw two orders");
    }
  }
  if (!scenario.breaking && outcome.acked != scenario.publishes) {
    run.complain("not every publish got its Ack");
  }
  if (outcome.acked > outcome.ordered) run.complain("more Acks than events");
  co_await run.node.drain(5 * runtime::kSecond);
  co_await run.hosts.stop();
  co_await run.node.stop();
}

}  // namespace corelane::tests
