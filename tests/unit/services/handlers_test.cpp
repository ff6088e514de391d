// Goal: handlers of the application, plain functions and coroutines, get their request as it was
// sent, answer under its opcode and transaction, survive their client, are bounded, and end with
// the node. Method: a whole node with handlers that answer early, late, often and never.
#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <vector>

#include "runtime/await.hpp"
#include "runtime/submit.hpp"
#include "tests/support/prng.hpp"
#include "tests/unit/services/node_under_test.hpp"

namespace corelane {
namespace {

using protocol::ErrorCode;
using protocol::Opcode;
using runtime::Core;
using runtime::CoreId;
using runtime::Task;
using services::Request;
using tests::bytes_of;
using tests::NodeUnderTest;
using tests::ProtocolClient;
using tests::ServerMessage;
using tests::Via;
using tests::with_node;

constexpr Opcode custom(std::uint16_t number) {
  return static_cast<Opcode>(number);
}

Task<ServerMessage> call(ProtocolClient* client, std::uint16_t opcode, std::string_view payload) {
  const protocol::RawBody body{.kOpcode = custom(opcode), .payload = bytes_of(payload)};
  co_return co_await client->request(body);
}

void with_handlers(CoreId cores, const services::HandlerTable& handlers,
                   const tests::NodeTest& body) {
  services::NodeOptions options;
  options.handlers = &handlers;
  with_node(tests::node_cores(cores), options, body);
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Task<bool> becomes(const std::atomic<int>& value, int wanted) {
  for (int look = 0; look < 60'000 && value != wanted; ++look) {
    co_await runtime::sleep_for(runtime::kMillisecond);
  }
  co_return value == wanted;
}

TEST(Handlers, APlainFunctionAnswersInPlace) {
  services::HandlerTable handlers;
  handlers.add(200, {.name = "reverse",
                     .plain =
                         [](Request& request) {
                           std::string text = text_of(request.payload());
                           request.reply(std::string(text.rbegin(), text.rend()));
                         },
                     .coroutine = {}});
  handlers.add(65'535, {.name = "who",
                        .plain =
                            [](Request& request) {
                              const protocol::Uuid uuid = request.session_uuid();
                              request.reply(protocol::to_text(uuid) + " " +
                                            std::to_string(request.header().span_id));
                            },
                        .coroutine = {}});
  handlers.add(
      201,
      {.name = "refuse",
       .plain = [](Request& request) { request.fail(ErrorCode::rate_limited, "too fast", 250); },
       .coroutine = {}});
  with_handlers(2, handlers, [](NodeUnderTest& test) -> Task<void> {
    for (const Via via : {Via::websocket, Via::compressed, Via::tcp}) {
      ProtocolClient* client = co_await test.connect(via);
      const ServerMessage reply = co_await call(client, 200, "abc");
      EXPECT_EQ(reply.opcode, custom(200));
      EXPECT_EQ(reply.data, "cba");
      const ServerMessage empty = co_await call(client, 200, "");
      EXPECT_EQ(empty.opcode, custom(200));
      EXPECT_EQ(empty.data, "");
      const protocol::RawBody body{.kOpcode = custom(65'535), .payload = {}};
      const ServerMessage who = co_await client->request(
          body, {.transaction_id = {}, .timestamp = 1, .trace_id = {}, .span_id = 9});
      EXPECT_EQ(who.data, protocol::to_text(client->uuid()) + " 9");
      const ServerMessage refused = co_await call(client, 201, "x");
      EXPECT_EQ(refused.error, ErrorCode::rate_limited);
      EXPECT_EQ(refused.failed_opcode, custom(201));
      EXPECT_EQ(refused.retry_after_ms, 250u);
      EXPECT_EQ(refused.data, "too fast");
    }
  });
}

TEST(Handlers, ACoroutineAnswersAfterItWasOnAnotherCoreAndSlept) {
  services::HandlerTable handlers;
  handlers.add(300, {.name = "far", .plain = {}, .coroutine = [](Request request) -> Task<void> {
                       const CoreId home = Core::current().id();
                       const auto far = static_cast<CoreId>((home + 1) % Core::current().cores());
                       const CoreId there =
                           co_await runtime::submit_to(far, [] { return Core::current().id(); });
                       co_await runtime::sleep_for(2 * runtime::kMillisecond);
                       EXPECT_EQ(Core::current().id(), home);
                       request.reply(text_of(request.payload()) + std::to_string(there));
                     }});
  with_handlers(3, handlers, [](NodeUnderTest& test) -> Task<void> {
    for (CoreId core = 0; core < 3; ++core) {
      ProtocolClient* client = co_await test.connect_on(core);
      // Several at once; the payload is each one's own, whatever came into the buffer since.
      std::vector<protocol::Uuid> ids;
      for (int i = 0; i < 50; ++i) {
        const std::string payload = std::to_string(i) + "@";
        ids.push_back(
            client->send(protocol::RawBody{.kOpcode = custom(300), .payload = bytes_of(payload)}));
      }
      for (int i = 0; i < 50; ++i) {
        const ServerMessage reply = co_await client->reply(ids[static_cast<std::size_t>(i)]);
        EXPECT_EQ(reply.data, std::to_string(i) + "@" + std::to_string((core + 1) % 3));
      }
    }
  });
}

TEST(Handlers, ACoroutineMayAnswerManyTimes) {
  services::HandlerTable handlers;
  handlers.add(301, {.name = "many", .plain = {}, .coroutine = [](Request request) -> Task<void> {
                       for (int i = 0; i < 100; ++i) {
                         EXPECT_TRUE(request.reply(std::to_string(i)));
                         if (i % 10 == 0) co_await runtime::sleep_for(runtime::kMillisecond);
                       }
                     }});
  with_handlers(2, handlers, [](NodeUnderTest& test) -> Task<void> {
    for (const Via via : {Via::websocket, Via::tcp}) {
      ProtocolClient* client = co_await test.connect(via);
      const protocol::Uuid id =
          client->send(protocol::RawBody{.kOpcode = custom(301), .payload = {}});
      for (int i = 0; i < 100; ++i) {
        const ServerMessage reply = co_await client->reply(id);
        EXPECT_EQ(reply.data, std::to_string(i));
      }
    }
  });
}

TEST(Handlers, AnswersToAClientThatIsGoneGoNowhereAndSaySo) {
  std::atomic<int> waiting = 0;
  std::atomic<int> gone = 0;
  std::atomic<bool> client_closed = false;
  services::HandlerTable handlers;
  handlers.add(302, {.name = "late", .plain = {}, .coroutine = [&](Request request) -> Task<void> {
                       ++waiting;
                       while (!client_closed) co_await runtime::sleep_for(runtime::kMillisecond);
                       const bool replied = request.reply("too late");
                       const bool failed = request.fail(ErrorCode::internal, "too late");
                       if (!replied && !failed && request.session_uuid() == protocol::kNilUuid) {
                         ++gone;
                       }
                     }});
  services::NodeOptions options;
  options.handlers = &handlers;
  // The server cannot tell a TCP client that closed from one that waits for its last answers.
  options.tcp.close_timeout = 100 * runtime::kMillisecond;
  with_node(tests::node_cores(2), options, [&](NodeUnderTest& test) -> Task<void> {
    std::vector<ProtocolClient*> clients;
    for (const Via via : {Via::websocket, Via::tcp, Via::websocket, Via::tcp}) {
      clients.push_back(co_await test.connect(via));
      clients.back()->send(protocol::RawBody{.kOpcode = custom(302), .payload = bytes_of("x")});
    }
    const bool all_wait = co_await becomes(waiting, 4);
    EXPECT_TRUE(all_wait);
    clients[0]->close();
    clients[1]->close();
    clients[2]->abort();
    clients[3]->abort();
    const bool ended = co_await test.sessions_are(0);
    EXPECT_TRUE(ended);
    // Their slots have new sessions, which must not get the answers.
    ProtocolClient* next = co_await test.connect(Via::websocket);
    ProtocolClient* next_too = co_await test.connect(Via::tcp);
    client_closed = true;
    const bool all_gone = co_await becomes(gone, 4);
    EXPECT_TRUE(all_gone);
    co_await next->settle();
    co_await next_too->settle();
    EXPECT_TRUE(next->events().empty());
    EXPECT_TRUE(next_too->events().empty());
  });
}

std::string noise(std::size_t bytes) {
  tests::Prng random(bytes);
  std::string text(bytes, ' ');
  for (char& c : text) c = static_cast<char>(random.next());
  return text;
}

// The last 4 KiB. They lie in the window of a compressor that has taken in all of `text`.
std::string end_of(const std::string& text) {
  return text.substr(text.size() - 4096);
}

// A queue holds 1 MiB. No client, however fast it reads, can be sent more at once. The Error that
// it gets instead leaves it connected; with compression, later answers do not refer to the one that
// was not sent.
TEST(Handlers, AnAnswerLargerThanTheQueueIsRefusedAndItsClientStays) {
  services::HandlerTable handlers;
  handlers.add(200, {.name = "noise",
                     .plain =
                         [](Request& request) {
                           const std::string text = noise(std::stoul(text_of(request.payload())));
                           if (!request.reply(text)) request.reply(end_of(text));
                         },
                     .coroutine = {}});
  handlers.add(201,
               {.name = "noise later", .plain = {}, .coroutine = [](Request request) -> Task<void> {
                  co_await runtime::sleep_for(runtime::kMillisecond);
                  EXPECT_FALSE(request.reply(noise(2 * 1024 * 1024)));
                }});
  handlers.add(202, {.name = "long story",
                     .plain =
                         [](Request& request) {
                           std::string text(2 * 1024 * 1024, 'e');
                           text.replace(4094, 3, "€");
                           request.fail(ErrorCode::internal, text);
                         },
                     .coroutine = {}});
  with_handlers(1, handlers, [](NodeUnderTest& test) -> Task<void> {
    for (const Via via : {Via::websocket, Via::compressed, Via::tcp}) {
      ProtocolClient* client = co_await test.connect(via);
      const protocol::RawBody body{.kOpcode = custom(200), .payload = bytes_of("2097152")};
      const protocol::Uuid id = client->send(body);
      const ServerMessage refused = co_await client->reply(id);
      EXPECT_EQ(refused.error, ErrorCode::payload_too_large);
      EXPECT_EQ(refused.failed_opcode, custom(200));
      EXPECT_NE(refused.data.find("larger than limits.outgoing_queue_bytes_max"), std::string::npos)
          << refused.data;
      const ServerMessage told = co_await client->reply(id);
      EXPECT_TRUE(told.data == end_of(noise(2 * 1024 * 1024)));
      const ServerMessage later = co_await call(client, 201, "");
      EXPECT_EQ(later.error, ErrorCode::payload_too_large);
      const ServerMessage story = co_await call(client, 202, "");
      EXPECT_EQ(story.error, ErrorCode::internal);
      EXPECT_EQ(story.data, std::string(4094, 'e'));
      const ServerMessage fits = co_await call(client, 200, "1000000");
      EXPECT_TRUE(fits.data == noise(1'000'000));
      EXPECT_TRUE(client->open());
    }
    const std::uint64_t slow_readers = co_await test.total(
        [](services::CoreNode& node) { return node.sessions().counters().slow_readers; });
    EXPECT_EQ(slow_readers, 0u);
  });
}

TEST(Handlers, MoreThanTheLimitAreRefusedWithAHintAndStoppingCancelsThem) {
  std::atomic<int> running = 0;
  std::atomic<int> cancelled = 0;
  std::atomic<bool> let_go = false;
  services::HandlerTable handlers;
  handlers.add(400, {.name = "endless", .plain = {}, .coroutine = [&](Request) -> Task<void> {
                       ++running;
                       if (!co_await runtime::sleep_for(3600 * runtime::kSecond)) ++cancelled;
                       --running;
                     }});
  handlers.add(401,
               {.name = "until told", .plain = {}, .coroutine = [&](Request request) -> Task<void> {
                  ++running;
                  while (!let_go) co_await runtime::sleep_for(runtime::kMillisecond);
                  request.reply("done");
                  --running;
                }});
  services::NodeOptions options;
  options.handlers = &handlers;
  options.dispatch.handlers_running_max = 3;
  with_node(tests::node_cores(2), options, [&](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect_on(0);
    ProtocolClient* elsewhere = co_await test.connect_on(1);
    for (int i = 0; i < 2; ++i) {
      client->send(protocol::RawBody{.kOpcode = custom(400), .payload = {}});
    }
    const protocol::Uuid last =
        client->send(protocol::RawBody{.kOpcode = custom(401), .payload = {}});
    const ServerMessage refused = co_await call(client, 400, "");
    EXPECT_EQ(refused.error, ErrorCode::overloaded);
    EXPECT_EQ(refused.failed_opcode, custom(400));
    EXPECT_GT(refused.retry_after_ms, 0u);
    // The limit is a core's; the others and the built-ins go on.
    elsewhere->send(protocol::RawBody{.kOpcode = custom(400), .payload = {}});
    const bool all_run = co_await becomes(running, 4);
    EXPECT_TRUE(all_run);
    const bool settled = co_await client->settle();
    EXPECT_TRUE(settled);
    // A place that is free again can be taken.
    let_go = true;
    const ServerMessage done = co_await client->reply(last);
    EXPECT_EQ(done.data, "done");
    const ServerMessage fits = co_await call(client, 401, "");
    EXPECT_EQ(fits.data, "done");
  });
  EXPECT_EQ(running, 0);
  EXPECT_EQ(cancelled, 3);
}

TEST(Handlers, OneThatWaitsWhenTheServerStopsHasNotFailed) {
  std::atomic<int> running = 0;
  services::HandlerTable handlers;
  handlers.add(200, {.name = "waits", .plain = {}, .coroutine = [&](Request) -> Task<void> {
                       ++running;
                       co_await runtime::submit_to(0, []() -> Task<void> {
                         (void)co_await runtime::sleep_for(3600 * runtime::kSecond);
                       });
                     }});
  handlers.add(
      201,
      {.name = "fails when it is stopped", .plain = {}, .coroutine = [&](Request) -> Task<void> {
         ++running;
         (void)co_await runtime::sleep_for(3600 * runtime::kSecond);
         throw std::runtime_error("stopped");
       }});
  services::NodeOptions options;
  options.handlers = &handlers;
  with_node(tests::node_cores(1), options, [&](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(Via::websocket);
    for (const std::uint16_t opcode : {std::uint16_t{200}, std::uint16_t{201}}) {
      client->send(protocol::RawBody{.kOpcode = custom(opcode), .payload = {}});
    }
    const bool both_run = co_await becomes(running, 2);
    EXPECT_TRUE(both_run);
    services::Dispatch& dispatch = services::Dispatch::local();
    co_await dispatch.stop();
    EXPECT_EQ(dispatch.counters().failures, 1u);
  });
}

TEST(Handlers, AnOpcodeOfOursOrOneThatIsTakenIsNotForHandlers) {
  services::HandlerTable handlers;
  const auto handler = [] {
    return services::CustomHandler{.name = "x", .plain = [](Request&) {}, .coroutine = {}};
  };
  handlers.add(200, handler());
  EXPECT_THROW(handlers.add(200, handler()), std::invalid_argument);
  EXPECT_THROW(handlers.add(199, handler()), std::invalid_argument);
  EXPECT_THROW(handlers.add(0, handler()), std::invalid_argument);
  EXPECT_EQ(handlers.find(custom(201)), nullptr);
  EXPECT_NE(handlers.find(custom(200)), nullptr);
}

// The frames come in one piece: over TCP too, nothing behind the one that closes is looked at.
TEST(Handlers, WhatFollowsARequestWhoseHandlerClosesItsSessionTakesNoEffect) {
  services::HandlerTable handlers;
  handlers.add(302, {.name = "closing",
                     .plain =
                         [](Request& request) {
                           services::Session* from =
                               services::Sessions::local().find(request.session());
                           from->close(ws::CloseCode::policy_violation, "no more");
                         },
                     .coroutine = {}});
  with_handlers(1, handlers, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* other = co_await test.connect(Via::websocket);
    const std::string_view names[] = {"news"};
    const protocol::SubscribeBody body{.channels = names};
    co_await other->request(body);
    for (const Via via : {Via::websocket, Via::compressed, Via::tcp}) {
      for (int round = 0; round < 5; ++round) {
        ProtocolClient* client = co_await test.connect(via);
        std::vector<std::byte> message;
        protocol::append_frame(message, {},
                               protocol::RawBody{.kOpcode = custom(302), .payload = {}});
        protocol::append_frame(
            message, {},
            protocol::PublishBody{.channel = "news", .data = {}, .requires_ack = false});
        EXPECT_TRUE(client->send_bytes(message));
        const bool closed = co_await client->closed();
        EXPECT_TRUE(closed);
        const bool settled = co_await other->settle();
        EXPECT_TRUE(settled);
        EXPECT_TRUE(other->events().empty()) << "a publish of a session that was closed";
      }
    }
  });
}

}  // namespace
}  // namespace corelane
