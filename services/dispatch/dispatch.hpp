#pragma once
// Dispatch: from the bytes of one client to the function that serves them. One a core; it knows no
// service, only the table of opcodes; a frame is verified once and looked at in place.
//
//   WebSocket message -> frames -> verify_message -> the session's credit, or its quotas
//   -> OpcodeTable: a service's row, or a handler
//   TCP bytes         -> frames -> the same
//
// Whatever is wrong with a frame is answered by an Error under its transaction id (nil if that
// could not be read); a WebSocket goes on with the next message, a TCP stream that has lost its
// place is closed. Only a Pong is taken in silence: it answers nothing and asks for nothing.

#include <cstdint>
#include <span>
#include <string>

#include "protocol/frame.hpp"
#include "protocol/requests.hpp"
#include "protocol/verify.hpp"
#include "runtime/core.hpp"
#include "runtime/task_group.hpp"
#include "services/dispatch/opcode_table.hpp"
#include "services/dispatch/request.hpp"
#include "services/local.hpp"
#include "services/metrics/traffic.hpp"
#include "services/sessions/sessions.hpp"

namespace corelane::services {

struct DispatchOptions {
  std::string node_name{};
  std::string server_version{};
  std::size_t frame_bytes_max = protocol::kFrameBytesMaxDefault;
  std::size_t subscriptions_per_session_max = 1000;
  // Coroutines of custom handlers: on this core (Error overloaded), of one session
  // (limit_exceeded), and the payloads they were given, all together on this core (overloaded). A
  // payload counts until its coroutine has ended, whatever that does with it. At least a frame.
  std::size_t handlers_running_max = 100'000;
  std::size_t handlers_per_session_max = 1000;
  std::size_t handler_bytes_max = 64 * 1024 * 1024;
};

class Dispatch : public Service {
 public:
  // The table must outlive it.
  Dispatch(DispatchOptions options, const OpcodeTable& table);
  ~Dispatch() override;

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

  // Cancels the coroutines of handlers and waits for them.
  runtime::Task<void> stop() override;

  const DispatchOptions& options() const noexcept { return options_; }
  const OpcodeTable& table() const noexcept { return table_; }
  // WhoAmI and Ping.
  static std::span<const OpcodeRow> opcodes() noexcept;
  static std::span<const MetricRow> metrics() noexcept;
  static std::span<const config::Row<DispatchOptions>> settings() noexcept;
  static std::span<const config::Row<DispatchOptions>> handler_settings() noexcept;

  // --- For the functions of rows
  // Both refuse a payload that is not of its type, and say so by false or null. The first is for
  // what clients send often. What they return is valid until the next call.
  template <class Request>
  bool read(Session& session, const protocol::MessageView& message, Request& request);
  template <class Table>
  const Table* payload_of(Session& session, const protocol::MessageView& message);
  // The strings of a verified list.
  template <class Names>
  std::span<const std::string_view> names_of(const Names& names);
  // Refuses a request whose data would be sent on in a frame larger than the server itself takes,
  // or than anyone's outgoing queue.
  bool can_be_sent(Session& session, const protocol::MessageView& message, std::size_t frame_bytes);
  // False near the end of the core's memory budget: the request was refused with `overloaded`. The
  // table calls it for requests of CostClass::memory, a function for large ones of another class.
  bool has_memory(Session& session, const protocol::MessageView& message) {
    if (!memory_.reached(runtime::MemoryPressure::no_memory)) [[likely]]
      return true;
    refuse_for_memory(session, message);
    return false;
  }
  [[gnu::cold]] void refuse(Session& session, const protocol::MessageView& message,
                            protocol::ErrorCode code, std::string_view text,
                            std::uint32_t retry_after_ms = 0);
  [[gnu::cold]] void refuse_opcode(Session& session, const protocol::MessageView& message);
  // Runs a handler of the application; a coroutine only if there is room for one more.
  void run(const CustomHandler& handler, Session& session, const protocol::MessageView& message);
  // Runs a coroutine that answers `session` once; it is cancelled when the server stops. False, and
  // nothing runs, if more than half of the places for handlers are taken.
  template <class Function, class... Arguments>
  bool spawn(const char* name, Function function, Arguments&&... arguments) {
    if (running_.running() >= options_.handlers_running_max / 2) return false;
    running_.spawn(name, function, std::forward<Arguments>(arguments)...);
    return true;
  }

  struct Counters {
    std::uint64_t errors = 0;    // Error replies made here
    std::uint64_t failures = 0;  // handlers that ended with an exception
  };
  const Counters& counters() const noexcept { return counters_; }
  std::size_t handlers_running() const noexcept { return running_.running(); }
  std::size_t handler_bytes() const noexcept { return handler_bytes_; }

 private:
  bool admits(Session& session, const protocol::MessageView& message, std::size_t bytes);
  void on_frame(Session& session, std::span<const std::byte> message);
  [[gnu::noinline]] void serve_timed(Session& session, const protocol::MessageView& message);
  [[gnu::cold]] void refuse_for_memory(Session& session, const protocol::MessageView& message);
  bool has_room_for(Session& session, const protocol::MessageView& message);
  void start(Session& session, const CustomHandler& handler, const Request& request);
  void end_handler(const SessionId& id, std::size_t bytes) noexcept;
  [[gnu::cold]] void fail(const Request& request, const CustomHandler& handler,
                          std::string_view what) noexcept;
  [[gnu::cold]] void refuse_frame(Session& session, protocol::FrameStatus status);
  [[gnu::cold]] void refuse_payload(Session& session, const protocol::MessageView& message,
                                    protocol::ErrorCode code);

  DispatchOptions options_;
  const OpcodeTable& table_;
  runtime::Core& core_;
  Traffic& traffic_;
  runtime::MemoryAccount& memory_;
  protocol::AlignedScratch scratch_;
  std::vector<std::string_view> names_;  // of the request that is being served
  runtime::TaskGroup running_{"handlers"};
  std::size_t handler_bytes_ = 0;  // payloads of what runs
  Counters counters_;
};

// The header of a request as it is passed on to other sessions: without the transaction id.
inline protocol::MessageHeader passed_on(const protocol::MessageView& message) noexcept {
  return {.transaction_id = {},
          .timestamp = message.timestamp,
          .trace_id = message.trace_id,
          .span_id = message.span_id};
}

template <class Table>
const Table* Dispatch::payload_of(Session& session, const protocol::MessageView& message) {
  const auto verified = protocol::verify_payload<Table>(message.payload, scratch_);
  if (!verified) refuse_payload(session, message, verified.code);
  return verified.table;
}

template <class Request>
bool Dispatch::read(Session& session, const protocol::MessageView& message, Request& request) {
  const protocol::ErrorCode code = protocol::read_request(message.payload, scratch_, request);
  if (code == protocol::ErrorCode::none) [[likely]]
    return true;
  refuse_payload(session, message, code);
  return false;
}

template <class Names>
std::span<const std::string_view> Dispatch::names_of(const Names& names) {
  names_.clear();
  for (const auto* name : names) names_.emplace_back(name->c_str(), name->size());
  return names_;
}

}  // namespace corelane::services
