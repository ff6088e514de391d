// The opcodes SetQuota and GetQuota: from a request to the operation, and from its report to the
// reply.

#include <fmt/format.h>
#include <netinet/in.h>

#include <cstring>

#include "net/peer_address.hpp"
#include "services/dispatch/dispatch.hpp"
#include "services/quota/quota.hpp"

namespace corelane::services {

using protocol::ErrorCode;
using protocol::MessageView;
using protocol::Opcode;
using quota::QuotaScope;
using runtime::Task;

namespace {

constexpr std::uint32_t kRetryAfterMs = 100;
constexpr std::size_t kKeyBytesMax = 1024;

bool is_loopback(const runtime::Address& address) noexcept {
  constexpr std::uint8_t kLoopbackNet = 127;
  if (address.family() == AF_INET) {
    sockaddr_in raw;
    std::memcpy(&raw, address.raw(), sizeof raw);
    std::uint8_t first;
    std::memcpy(&first, &raw.sin_addr, sizeof first);
    return first == kLoopbackNet;
  }
  if (address.family() != AF_INET6) return false;
  sockaddr_in6 raw;
  std::memcpy(&raw, address.raw(), sizeof raw);
  if (IN6_IS_ADDR_LOOPBACK(&raw.sin6_addr)) return true;
  return IN6_IS_ADDR_V4MAPPED(&raw.sin6_addr) && raw.sin6_addr.s6_addr[12] == kLoopbackNet;
}

struct Asked {
  SessionId session;
  protocol::Uuid transaction_id;
  Opcode opcode;
  QuotaTarget target;
  bool sets = false;
  std::unique_ptr<quota::Limits> limits;
};

std::string_view why(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::unknown_session:
      return "no session has this id";
    case ErrorCode::unavailable:
      return "the server does not know the addresses of its sessions (quota.track)";
    case ErrorCode::unauthorized:
      return "quotas are set, and those of others are read, by clients of this host alone "
             "(quota.loopback_sets)";
    default:
      return "the key's core has as many keys with limits of their own as it may";
  }
}

void reply(Session& session, const Asked& asked, const QuotaReport& report) {
  if (report.code != ErrorCode::none) {
    session.send_error(asked.transaction_id, asked.opcode, report.code, why(report.code));
    return;
  }
  session.reply(asked.transaction_id,
                protocol::QuotaReplyBody{.scope = asked.target.scope,
                                         .session = report.session,
                                         .key = report.key,
                                         .limits = report.limits,
                                         .uses = report.uses,
                                         .permissive = Quota::local().options().permissive});
}

Task<QuotaReport> answer(Asked& asked) {
  const bool is_own = asked.target.session.is_nil() && asked.target.key.empty();
  if (asked.sets || !is_own) {
    const bool may = co_await Quota::is_operator(asked.session);
    if (!may) co_return QuotaReport{.code = ErrorCode::unauthorized};
  }
  QuotaTarget target = asked.target;
  if (!asked.sets) co_return co_await Quota::local().get(std::move(target));
  co_return co_await Quota::local().set(std::move(target), std::move(asked.limits));
}

Task<void> answer_and_reply(Asked asked) {
  const QuotaReport report = co_await answer(asked);
  Session* session = Sessions::local().find(asked.session);
  if (session == nullptr) co_return;
  reply(*session, asked, report);
  session->answered();
}

// What both requests name. False: it was refused.
template <class Table>
bool read_target(Dispatch& dispatch, Session& session, const MessageView& message,
                 const Table& request, QuotaTarget& target) {
  target.scope = request.scope();
  target.asked_by = session.id();
  if (request.session() != nullptr) target.session = protocol::from_fbs(request.session());
  if (target.session == session.uuid()) target.session = {};
  target.key = protocol::text_of(request.key());
  if (target.scope <= QuotaScope::principal && target.key.size() <= kKeyBytesMax) return true;
  dispatch.refuse(session, message, ErrorCode::quota_invalid,
                  target.scope > QuotaScope::principal
                      ? std::string{"this server does not know the scope"}
                      : fmt::format("the key has more than {} bytes", kKeyBytesMax));
  return false;
}

void start(Dispatch& dispatch, Session& session, const MessageView& message, Asked asked) {
  asked.session = session.id();
  asked.transaction_id = message.transaction_id;
  asked.opcode = message.opcode;
  session.expect_answer();
  const char* const name = asked.sets ? "SetQuota" : "GetQuota";
  if (dispatch.spawn(name, answer_and_reply, std::move(asked))) return;
  dispatch.refuse(session, message, ErrorCode::overloaded, "too many requests are being served",
                  kRetryAfterMs);
  session.answered();
}

void serve_get_quota(Dispatch& dispatch, Session& session, const MessageView& message) {
  const auto* request = dispatch.payload_of<protocol::fbs::GetQuotaRequest>(session, message);
  if (request == nullptr) return;
  Asked asked;
  if (!read_target(dispatch, session, message, *request, asked.target)) return;
  start(dispatch, session, message, std::move(asked));
}

void serve_set_quota(Dispatch& dispatch, Session& session, const MessageView& message) {
  const auto* request = dispatch.payload_of<protocol::fbs::SetQuotaRequest>(session, message);
  if (request == nullptr) return;
  Asked asked;
  asked.sets = true;
  if (!read_target(dispatch, session, message, *request, asked.target)) return;
  if (!request->use_defaults()) {
    asked.limits = std::make_unique<quota::Limits>();
    const std::size_t count = request->limits() == nullptr ? 0 : request->limits()->size();
    if (count > quota::kLimitsMax) {
      return dispatch.refuse(session, message, ErrorCode::quota_invalid,
                             fmt::format("{} limits are more than {}", count, quota::kLimitsMax));
    }
    for (flatbuffers::uoffset_t i = 0; i < count; ++i) {
      const std::string problem =
          quota::from_wire(*request->limits()->Get(i), asked.limits->emplace_back());
      if (problem.empty()) continue;
      return dispatch.refuse(session, message, ErrorCode::quota_invalid,
                             fmt::format("limit {} {}", i, problem));
    }
  }
  start(dispatch, session, message, std::move(asked));
}

constexpr OpcodeRow kRows[] = {
    {.opcode = Opcode::SetQuota,
     .name = "SetQuota",
     .request = "SetQuotaRequest",
     .right = Right::none,
     .cost = CostClass::light,
     .serve = serve_set_quota},
    {.opcode = Opcode::GetQuota,
     .name = "GetQuota",
     .request = "GetQuotaRequest",
     .right = Right::none,
     .cost = CostClass::light,
     .serve = serve_get_quota},
};

}  // namespace

std::span<const OpcodeRow> Quota::opcodes() noexcept {
  return kRows;
}

Task<bool> Quota::is_operator(SessionId id) {
  if (!local().options_.loopback_sets) co_return false;
  Session* session = Sessions::local().find(id);
  if (session == nullptr || session->closing()) co_return false;
  if (session->transport() == protocol::Transport::unix_stream) co_return true;
  net::Stream& stream = session->stream();
  const auto address = co_await net::peer_address(stream.network(), stream.id());
  co_return address&& is_loopback(*address);
}

}  // namespace corelane::services
