#pragma once
// OpcodeTable: which function serves which opcode. Each service has its rows in its own folder
// (pubsub/handlers.cpp); they are merged, with the application's handlers, before the cores start,
// and read by all afterwards.
//
//   1 to 18, 64 to 127   requests of clients: rows of services; an application may override them
//   19 to 63, 128 to 199 sent by the server alone
//   200 to 65,535        handlers of the application
//
// A known request passes the gates in this order: counted, traced, its right, its quota. Then its
// cost class (CostClass) is checked, and it is served. Absent gates cost nothing; without gates,
// rows of other classes than `memory` are called directly.

#include <tsl/robin_map.h>

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "protocol/opcode.hpp"
#include "protocol/verify.hpp"
#include "runtime/task.hpp"

namespace corelane::services {

class Dispatch;
class Request;
class Session;

// The right that a session needs for a request to be served. `none`: every session has it.
enum class Right : std::uint8_t {
  none,
  subscribe,
  publish,
  send,
  broadcast,
  cache_read,
  cache_write,
  inspect,  // reads what the server counts
  application,
};

// The resources that serving a request takes. Near the end of the memory budget the table refuses
// requests of the class `memory` with `overloaded`, before their function runs. Other classes are
// served; a function may refuse large requests (Dispatch::has_memory), as Ping does above 1 KiB.
enum class CostClass : std::uint8_t {
  control,  // no memory beyond the answer: WhoAmI, Ping
  light,    // frees more memory than it takes, or is bounded for each session
  memory,   // keeps or queues bytes of the request
};

// Serves one verified message, in the core's turn. The views are valid until it returns. It answers
// every request once, or has it answered (services/reply/reply.hpp).
using ServeFunction = void (*)(Dispatch& dispatch, Session& session,
                               const protocol::MessageView& message);

struct OpcodeRow {
  protocol::Opcode opcode = protocol::Opcode::None;
  const char* name = "";     // of a static storage duration, or the application's
  const char* request = "";  // the table of schema.fbs that its payload holds; empty: any bytes
  Right right = Right::none;
  CostClass cost = CostClass::control;
  ServeFunction serve = nullptr;
};

// The handler of an application's opcode: one of the two functions. All cores share it, so its
// state must be per core. An exception that leaves it is logged, and answers the request with
// Error `internal`.
struct CustomHandler {
  std::string name;  // in stall reports; lives as long as the table
  std::function<void(Request&)> plain;
  std::function<runtime::Task<void>(Request)> coroutine;
};

// An application's handlers by opcode. Filled before the cores start, then read by all.
class HandlerTable {
 public:
  // Throws std::invalid_argument for an opcode below 200 or one that is taken.
  void add(std::uint16_t opcode, CustomHandler handler);
  // In place of a service's own, which the handler may call (Request::serve_original). Throws
  // std::invalid_argument if clients do not send this opcode, or it is overridden already.
  void override_built_in(std::uint16_t opcode, CustomHandler handler);
  const CustomHandler* find(protocol::Opcode opcode) const noexcept {
    const auto found = handlers_.find(protocol::number(opcode));
    return found == handlers_.end() ? nullptr : &found->second;
  }

 private:
  friend class OpcodeTable;
  void insert(std::uint16_t opcode, CustomHandler handler);

  tsl::robin_map<std::uint16_t, CustomHandler> handlers_;
};

// The checks before a request is served; null: none. On the session's core.
struct RequestGates {
  struct Refusal {
    protocol::ErrorCode code = protocol::ErrorCode::none;  // none: the request passes
    std::string text;
    std::uint32_t retry_after_ms = 0;
  };
  using Look = void (*)(Session&, const protocol::MessageView&, const OpcodeRow&) noexcept;
  using Ask = Refusal (*)(Session&, const protocol::MessageView&, const OpcodeRow&);

  Look count = nullptr;
  Look trace = nullptr;
  Ask right = nullptr;
  Ask quota = nullptr;

  bool empty() const noexcept { return !count && !trace && !right && !quota; }
};

class OpcodeTable {
 public:
  OpcodeTable();

  // Throws std::invalid_argument for an opcode that clients do not send or that has a row.
  void add(std::span<const OpcodeRow> rows);
  // The application's, after all rows. They must outlive the table.
  void add(const HandlerTable& handlers);
  // Once, last.
  void set_gates(const RequestGates& gates) noexcept;

  // Serves a message, or refuses it.
  void serve(Dispatch& dispatch, Session& session, const protocol::MessageView& message) const {
    const std::uint16_t number = protocol::number(message.opcode);
    if (number < kBuiltIns) [[likely]] {
      entries_[number](dispatch, session, message);
    } else {
      serve_custom_(dispatch, session, message);
    }
  }

  // A service's row, also if it is overridden; serve is null for a number without a row. For class
  // `memory`, serve is a function of the table that checks the memory first.
  const OpcodeRow& row(protocol::Opcode opcode) const noexcept {
    static constexpr OpcodeRow kNone;
    const std::uint16_t number = protocol::number(opcode);
    return number < kBuiltIns ? rows_[number] : kNone;
  }
  const CustomHandler* handler(protocol::Opcode opcode) const noexcept {
    return handlers_ != nullptr ? handlers_->find(opcode) : nullptr;
  }
  const RequestGates& gates() const noexcept { return gates_; }
  // The numbers from 200 on that have a handler, in no order.
  std::vector<std::uint16_t> custom_opcodes() const;

 private:
  static constexpr std::size_t kBuiltIns = protocol::kCustomOpcodeMin;

  static void serve_with_memory(Dispatch& dispatch, Session& session,
                                const protocol::MessageView& message);

  std::array<ServeFunction, kBuiltIns> entries_;
  ServeFunction serve_custom_;
  std::array<OpcodeRow, kBuiltIns> rows_{};
  std::array<ServeFunction, kBuiltIns> needing_memory_{};  // the services' own functions
  const HandlerTable* handlers_ = nullptr;
  RequestGates gates_;
};

}  // namespace corelane::services
