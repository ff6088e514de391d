#include "services/sessions/connection_log.hpp"

#include <array>
#include <memory>
#include <vector>

#include "runtime/log_event.hpp"
#include "services/sessions/sessions.hpp"

namespace corelane::services {

using runtime::Core;
using runtime::LogField;
using runtime::Task;

namespace {

std::string_view name_of(protocol::Transport transport) noexcept {
  return protocol::fbs::EnumNameTransport(transport);
}

}  // namespace

void ConnectionLog::begin(Session& session, std::string_view path) {
  auto record = std::make_unique<ConnectionRecord>();
  record->begin = Core::current().now();
  record->path = path.substr(0, kPathBytesMax);
  session.extend().record = std::move(record);
  session.set_wire_bit(Session::kLogged, true);
  if (session.transport() != protocol::Transport::unix_stream) {
    lookups_.spawn("address of a session", look_up, session.id());
  }
}

Task<void> ConnectionLog::look_up(SessionId id) {
  std::string address = co_await Sessions::peer_address(id);
  Session* session = Sessions::local().find(id);
  if (session == nullptr) co_return;
  session->extend().record->address = std::move(address);
}

void ConnectionLog::end(Session& session, std::uint16_t code, std::string_view reason) {
  const SessionExtension* extension = session.extension();
  if (extension == nullptr || extension->record == nullptr) return;
  const ConnectionRecord& record = *extension->record;
  std::array<char, protocol::kUuidTextBytes> uuid;
  protocol::write_text(session.uuid(), uuid);
  std::vector<LogField> fields;
  if (!record.address.empty()) fields.push_back({"address", record.address});
  fields.push_back({"transport", name_of(session.transport())});
  if (!record.path.empty()) fields.push_back({"path", record.path});
  // The first half: the other one is a secret by which other clients reach the session.
  fields.push_back({"session", std::string_view{uuid.data(), uuid.size()}.substr(0, 18)});
  const auto lasted = (Core::current().now() - record.begin) / runtime::kMillisecond;
  fields.push_back(LogField::number("core", session.id().core));
  fields.push_back(LogField::number("duration_ms", static_cast<std::uint64_t>(lasted)));
  fields.push_back(LogField::number("received_bytes", extension->received_bytes));
  fields.push_back(LogField::number("sent_bytes", extension->sent_bytes));
  if (code != 0) fields.push_back(LogField::number("code", code));
  if (record.end != protocol::ErrorCode::none) reason = protocol::error_code_name(record.end);
  if (!reason.empty()) fields.push_back({"reason", reason});
  runtime::log_event(runtime::LogLevel::info, "connection closed", fields);
}

Task<void> ConnectionLog::stop() {
  lookups_.cancel();
  co_await lookups_.join();
}

}  // namespace corelane::services
