#include "services/dispatch/opcode_table.hpp"

#include <fmt/format.h>

#include <stdexcept>
#include <utility>

#include "services/dispatch/dispatch.hpp"

namespace corelane::services {

using protocol::MessageView;
using protocol::Opcode;

namespace {

bool is_sent_by_clients(std::uint16_t opcode) noexcept {
  return protocol::classify(static_cast<Opcode>(opcode)) == protocol::OpcodeClass::request;
}

// If a gate refuses the request, its error is the request's answer.
bool passes(RequestGates::Ask ask, Dispatch& dispatch, Session& session, const MessageView& message,
            const OpcodeRow& row) {
  if (ask == nullptr) return true;
  const RequestGates::Refusal refusal = ask(session, message, row);
  if (refusal.code == protocol::ErrorCode::none) return true;
  dispatch.refuse(session, message, refusal.code, refusal.text, refusal.retry_after_ms);
  return false;
}

bool pass_gates(Dispatch& dispatch, Session& session, const MessageView& message,
                const OpcodeRow& row) {
  const RequestGates& gates = dispatch.table().gates();
  if (gates.count != nullptr) gates.count(session, message, row);
  if (gates.trace != nullptr) gates.trace(session, message, row);
  return passes(gates.right, dispatch, session, message, row) &&
         passes(gates.quota, dispatch, session, message, row);
}

void serve_unknown(Dispatch& dispatch, Session& session, const MessageView& message) {
  dispatch.refuse_opcode(session, message);
}

void serve_custom(Dispatch& dispatch, Session& session, const MessageView& message) {
  const CustomHandler* handler = dispatch.table().handler(message.opcode);
  if (handler == nullptr) return dispatch.refuse_opcode(session, message);
  dispatch.run(*handler, session, message);
}

// The row that gates see for an opcode that only the application serves. Dispatch::run() checks the
// memory for the payload that a coroutine keeps.
OpcodeRow row_of(const CustomHandler& handler, Opcode opcode) noexcept {
  return {.opcode = opcode,
          .name = handler.name.c_str(),
          .request = "",
          .right = Right::application,
          .cost = handler.plain ? CostClass::light : CostClass::memory,
          .serve = serve_custom};
}

void serve_gated(Dispatch& dispatch, Session& session, const MessageView& message) {
  OpcodeRow row = dispatch.table().row(message.opcode);
  const CustomHandler* const handler = dispatch.table().handler(message.opcode);
  if (row.serve == nullptr) {
    if (handler == nullptr) return dispatch.refuse_opcode(session, message);
    row = row_of(*handler, message.opcode);
  }
  if (!pass_gates(dispatch, session, message, row)) return;
  if (handler != nullptr) return dispatch.run(*handler, session, message);
  row.serve(dispatch, session, message);
}

}  // namespace

void HandlerTable::insert(std::uint16_t opcode, CustomHandler handler) {
  if (!handlers_.emplace(opcode, std::move(handler)).second) {
    throw std::invalid_argument(fmt::format("opcode {} has a handler already", opcode));
  }
}

void HandlerTable::add(std::uint16_t opcode, CustomHandler handler) {
  if (opcode < protocol::kCustomOpcodeMin) {
    throw std::invalid_argument(
        fmt::format("custom opcodes begin at {}, not {}", protocol::kCustomOpcodeMin, opcode));
  }
  insert(opcode, std::move(handler));
}

void HandlerTable::override_built_in(std::uint16_t opcode, CustomHandler handler) {
  if (!is_sent_by_clients(opcode)) {
    throw std::invalid_argument(fmt::format("opcode {} is no built-in request", opcode));
  }
  insert(opcode, std::move(handler));
}

OpcodeTable::OpcodeTable() : serve_custom_(serve_custom) {
  entries_.fill(serve_unknown);
}

void OpcodeTable::add(std::span<const OpcodeRow> rows) {
  for (const OpcodeRow& row : rows) {
    const std::uint16_t number = protocol::number(row.opcode);
    if (!is_sent_by_clients(number)) {
      throw std::invalid_argument(fmt::format("opcode {} is not sent by clients", number));
    }
    if (rows_[number].serve != nullptr) {
      throw std::invalid_argument(
          fmt::format("opcode {} is {} and {}", number, rows_[number].name, row.name));
    }
    OpcodeRow& own = rows_[number];
    own = row;
    if (row.cost == CostClass::memory) {
      needing_memory_[number] = row.serve;
      own.serve = serve_with_memory;
    }
    entries_[number] = own.serve;
  }
}

void OpcodeTable::add(const HandlerTable& handlers) {
  for (const auto& [number, handler] : handlers.handlers_) {
    if (number < kBuiltIns) entries_[number] = serve_custom;
  }
  handlers_ = &handlers;
}

std::vector<std::uint16_t> OpcodeTable::custom_opcodes() const {
  std::vector<std::uint16_t> numbers;
  if (handlers_ == nullptr) return numbers;
  for (const auto& [number, handler] : handlers_->handlers_) {
    if (number >= kBuiltIns) numbers.push_back(number);
  }
  return numbers;
}

void OpcodeTable::serve_with_memory(Dispatch& dispatch, Session& session,
                                    const MessageView& message) {
  if (!dispatch.has_memory(session, message)) return;
  dispatch.table().needing_memory_[protocol::number(message.opcode)](dispatch, session, message);
}

void OpcodeTable::set_gates(const RequestGates& gates) noexcept {
  gates_ = gates;
  if (gates.empty()) return;
  for (std::size_t number = 0; number < kBuiltIns; ++number) {
    if (entries_[number] != serve_unknown) entries_[number] = serve_gated;
  }
  serve_custom_ = serve_gated;
}

}  // namespace corelane::services
