#pragma once
// Dispatch: from the bytes of one client to the service that serves them. One a core, pure
// functions over the core's services; a frame is verified once and looked at in place.
//
//   WebSocket message -> frames -> verify_message -> table of built-ins (1..63) or custom (200..)
//   TCP bytes         -> frames -> the same
//
// Whatever is wrong with a frame is answered by an Error under its transaction id (nil if that
// could not be read); a WebSocket goes on with the next message, a TCP stream that has lost its
// place is closed. Only a Pong is taken in silence: it answers nothing and asks for nothing.

#include <tsl/robin_map.h>

#include <cstdint>
#include <span>
#include <string>

#include "protocol/frame.hpp"
#include "protocol/requests.hpp"
#include "protocol/verify.hpp"
#include "runtime/task_group.hpp"
#include "services/dispatch/request.hpp"
#include "services/local.hpp"
#include "services/sessions/sessions.hpp"

namespace corelane::services {

// Custom handlers by opcode. Filled before the cores start, then read by all.
class HandlerTable {
 public:
  // Throws std::invalid_argument for an opcode below 200 or one that is taken.
  void add(std::uint16_t opcode, CustomHandler handler);
  const CustomHandler* find(protocol::Opcode opcode) const noexcept {
    const auto found = handlers_.find(protocol::number(opcode));
    return found == handlers_.end() ? nullptr : &found->second;
  }

 private:
  tsl::robin_map<std::uint16_t, CustomHandler> handlers_;
};

struct DispatchOptions {
  std::string node_name;
  std::string server_version;
  std::size_t frame_bytes_max = protocol::kFrameBytesMaxDefault;
  std::size_t subscriptions_per_session_max = 1000;
  // Coroutines of custom handlers: on this core (Error overloaded), of one session
  // (limit_exceeded), and the payloads they were given, all together on this core (overloaded). A
  // payload counts until its coroutine has ended, whatever that does with it. At least a frame.
  std::size_t handlers_running_max = 100'000;
  std::size_t handlers_per_session_max = 1000;
  std::size_t handler_bytes_max = 64 * 1024 * 1024;
};

class Dispatch {
 public:
  Dispatch(DispatchOptions options, const HandlerTable& handlers);
  ~Dispatch();
  Dispatch(const Dispatch&) = delete;
  Dispatch& operator=(const Dispatch&) = delete;

  static Dispatch& local() noexcept { return services::local<Dispatch>(ServiceSlot::dispatch); }

  // A binary WebSocket message: whole frames.
  void on_message(Session& session, std::span<const std::byte> message);

  struct StreamProgress {
    std::size_t consumed = 0;  // bytes of whole frames
    std::size_t needed = 0;    // bytes of the frame that is unfinished, as far as known
    bool lost = false;         // an impossible size: the stream must be closed
  };
  // Bytes of a TCP stream, as many whole frames as there are.
  StreamProgress on_stream(Session& session, std::span<const std::byte> bytes);

  // Cancels the coroutines of custom handlers and waits for them.
  runtime::Task<void> stop();

  struct Counters {
    std::uint64_t requests = 0;
    std::uint64_t errors = 0;  // Error replies made here
  };
  const Counters& counters() const noexcept { return counters_; }

 private:
  using BuiltIn = void (Dispatch::*)(Session&, const protocol::MessageView&);
  static BuiltIn built_in(protocol::Opcode opcode) noexcept;

  void on_frame(Session& session, std::span<const std::byte> message);
  void on_custom(Session& session, const protocol::MessageView& message);
  bool has_room_for(Session& session, const protocol::MessageView& message);
  void start(Session& session, const CustomHandler& handler, const Request& request);
  void end_handler(const SessionId& id, std::size_t bytes) noexcept;
  [[gnu::cold]] void refuse_frame(Session& session, protocol::FrameStatus status);
  [[gnu::cold]] void refuse(Session& session, const protocol::MessageView& message,
                            protocol::ErrorCode code, std::string_view text,
                            std::uint32_t retry_after_ms = 0);
  [[gnu::cold]] void refuse_opcode(Session& session, const protocol::MessageView& message);
  [[gnu::cold]] void refuse_payload(Session& session, const protocol::MessageView& message,
                                    protocol::ErrorCode code);
  // Refuses a request whose data would be sent on in a frame larger than the server itself takes,
  // or than anyone's outgoing queue.
  bool can_be_sent(Session& session, const protocol::MessageView& message, std::size_t frame_bytes);
  protocol::MessageHeader reply_header(const protocol::MessageView& message) const noexcept;

  void who_am_i(Session& session, const protocol::MessageView& message);
  void reply_who_am_i(Session& session, const protocol::MessageHeader& header,
                      std::string_view address);
  void ping(Session& session, const protocol::MessageView& message);
  void subscribe(Session& session, const protocol::MessageView& message);
  void unsubscribe(Session& session, const protocol::MessageView& message);
  void publish(Session& session, const protocol::MessageView& message);
  void send(Session& session, const protocol::MessageView& message);
  void broadcast(Session& session, const protocol::MessageView& message);
  // Both refuse a payload that is not of its type. The first is for what clients send often.
  template <class Request>
  bool read(Session& session, const protocol::MessageView& message, Request& request);
  template <class Table>
  const Table* payload_of(Session& session, const protocol::MessageView& message);
  template <class Names>
  std::span<const std::string_view> channel_names(const Names& names);

  DispatchOptions options_;
  const HandlerTable& handlers_;
  protocol::AlignedScratch scratch_;
  std::vector<std::string_view> names_;  // of the request that is being served
  runtime::TaskGroup running_{"handlers"};
  std::size_t handler_bytes_ = 0;  // payloads of what runs
  Counters counters_;
};

}  // namespace corelane::services
