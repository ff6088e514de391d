// The opcodes of the cache: from a request to the operation.

#include "services/cache/cache.hpp"
#include "services/dispatch/dispatch.hpp"
#include "services/reply/reply.hpp"

namespace corelane::services {

using protocol::ErrorCode;
using protocol::MessageView;
using protocol::Opcode;
using runtime::Result;
using runtime::Task;

namespace {

constexpr std::uint32_t kScanKeysDefault = 100;
constexpr std::uint32_t kRetryAfterMs = 1000;

ReplyTo reply_to(Session& session, const MessageView& message) noexcept {
  return ReplyTo::session(session, message.transaction_id, true);
}

// On the wire 0 is the namespace's default and the largest number no expiry.
CacheLifetime lifetime_of(std::uint64_t ttl_ms, bool sliding) noexcept {
  if (ttl_ms == 0) return {};
  if (ttl_ms == UINT64_MAX) return {.kind = CacheLifetime::Kind::none};
  return {.kind = CacheLifetime::Kind::span, .sliding = sliding, .ms = ttl_ms};
}

// Of an operation that creates a key, or keeps the lifetime of the one that is there.
CacheLifetime lifetime_if_new(std::uint64_t ttl_ms) noexcept {
  if (ttl_ms == 0) return {.kind = CacheLifetime::Kind::keep};
  return lifetime_of(ttl_ms, false);
}

// --- One key

void serve_get(Dispatch& dispatch, Session& session, const MessageView& message) {
  protocol::CacheGetRequest request;
  if (!dispatch.read(session, message, request)) return;
  Cache::local().get(request.key, request.if_newer_than, reply_to(session, message));
}

void serve_set(Dispatch& dispatch, Session& session, const MessageView& message) {
  protocol::CacheSetRequest request;
  if (!dispatch.read(session, message, request)) return;
  // The table's conditions are in the order of the schema's.
  static_assert(static_cast<int>(CacheCondition::if_version) ==
                static_cast<int>(protocol::CacheCondition::if_version));
  if (request.condition > protocol::CacheCondition::if_version) {
    return dispatch.refuse(session, message, ErrorCode::malformed_payload,
                           "the condition is none of those of CacheSetRequest");
  }
  Cache::local().set(request.key, request.value,
                     {.condition = static_cast<CacheCondition>(request.condition),
                      .version = request.version,
                      .lifetime = lifetime_of(request.ttl_ms, request.sliding),
                      .lease = request.lease},
                     reply_to(session, message));
}

void serve_delete(Dispatch& dispatch, Session& session, const MessageView& message) {
  protocol::CacheDeleteRequest request;
  if (!dispatch.read(session, message, request)) return;
  Cache::local().remove(request.key, request.version, reply_to(session, message));
}

void serve_touch(Dispatch& dispatch, Session& session, const MessageView& message) {
  const auto* request = dispatch.payload_of<protocol::fbs::CacheTouchRequest>(session, message);
  if (request == nullptr) return;
  Cache::local().touch(protocol::text_of(request->key()),
                       lifetime_of(request->ttl_ms(), request->sliding()),
                       reply_to(session, message));
}

void serve_increment(Dispatch& dispatch, Session& session, const MessageView& message) {
  const auto* request = dispatch.payload_of<protocol::fbs::CacheIncrementRequest>(session, message);
  if (request == nullptr) return;
  const bool is_bounded = request->low() != 0 || request->high() != 0;
  Cache::local().increment(protocol::text_of(request->key()),
                           {.by = request->by(),
                            .initial = request->initial(),
                            .low = is_bounded ? request->low() : INT64_MIN,
                            .high = is_bounded ? request->high() : INT64_MAX,
                            .lifetime = lifetime_if_new(request->ttl_ms())},
                           reply_to(session, message));
}

void serve_append(Dispatch& dispatch, Session& session, const MessageView& message) {
  const auto* request = dispatch.payload_of<protocol::fbs::CacheAppendRequest>(session, message);
  if (request == nullptr) return;
  Cache::local().append(protocol::text_of(request->key()), protocol::bytes_of(request->data()),
                        lifetime_if_new(request->ttl_ms()), reply_to(session, message));
}

void serve_lease(Dispatch& dispatch, Session& session, const MessageView& message) {
  const auto* request = dispatch.payload_of<protocol::fbs::CacheLeaseRequest>(session, message);
  if (request == nullptr) return;
  Cache::local().lease(protocol::text_of(request->key()),
                       {.wait = request->wait_ms() * runtime::kMillisecond,
                        .hold = request->lease_ms() * runtime::kMillisecond,
                        .refresh = request->refresh_ms() * runtime::kMillisecond},
                       reply_to(session, message));
}

// --- Many keys

void serve_multi_get(Dispatch& dispatch, Session& session, const MessageView& message) {
  const auto* request = dispatch.payload_of<protocol::fbs::CacheMultiGetRequest>(session, message);
  if (request == nullptr) return;
  Cache::local().multi_get(dispatch.names_of(*request->keys()), reply_to(session, message));
}

// The session of a request that a coroutine answers, if it is still there; it has its answer then.
template <class Write>
void answer_session(SessionId id, const Write& write) {
  Session* session = Sessions::local().find(id);
  if (session == nullptr) return;
  write(*session);
  session->answered();
}

// Runs a coroutine that answers the session once.
template <class Function, class... Arguments>
void spawn_answer(Dispatch& dispatch, Session& session, const MessageView& message,
                  const char* name, Function function, Arguments&&... arguments) {
  session.expect_answer();
  if (dispatch.spawn(name, function, session.id(), message.transaction_id,
                     std::forward<Arguments>(arguments)...)) {
    return;
  }
  dispatch.refuse(session, message, ErrorCode::overloaded, "too many requests are being served",
                  kRetryAfterMs);
  session.answered();
}

Task<void> scan_and_reply(SessionId id, protocol::Uuid transaction_id, std::string prefix,
                          std::uint64_t cursor, std::uint32_t count) {
  const Result<CacheScanned> found = co_await Cache::scan(std::move(prefix), cursor, count);
  if (!found) co_return;  // the server stops
  std::vector<std::string_view> keys;
  std::vector<protocol::fbs::CacheResult> results;
  for (const CacheKeyFound& key : found->keys) {
    keys.push_back(key.key);
    results.emplace_back(key.version, key.ttl_left_ms, static_cast<std::uint32_t>(key.value_bytes),
                         ErrorCode::none, key.sliding ? kCacheSlidingFlag : 0);
  }
  const protocol::CacheScanReplyBody body{
      .cursor = found->cursor, .keys = keys, .results = results};
  answer_session(id, [&](Session& session) { session.reply(transaction_id, body); });
}

void serve_scan(Dispatch& dispatch, Session& session, const MessageView& message) {
  const auto* request = dispatch.payload_of<protocol::fbs::CacheScanRequest>(session, message);
  if (request == nullptr) return;
  const std::uint32_t count = request->count() == 0 ? kScanKeysDefault : request->count();
  spawn_answer(dispatch, session, message, "CacheScan", scan_and_reply,
               std::string(protocol::text_of(request->prefix())), request->cursor(), count);
}

Task<void> remove_and_reply(SessionId id, protocol::Uuid transaction_id, std::string prefix,
                            std::uint64_t cursor) {
  const Result<CachePrefixRemoved> removed =
      co_await Cache::remove_prefix(std::move(prefix), cursor);
  if (!removed) co_return;
  const protocol::CacheDeletePrefixReplyBody body{.cursor = removed->cursor,
                                                  .deleted = removed->removed};
  answer_session(id, [&](Session& session) { session.reply(transaction_id, body); });
}

void serve_delete_prefix(Dispatch& dispatch, Session& session, const MessageView& message) {
  const auto* request =
      dispatch.payload_of<protocol::fbs::CacheDeletePrefixRequest>(session, message);
  if (request == nullptr) return;
  spawn_answer(dispatch, session, message, "CacheDeletePrefix", remove_and_reply,
               std::string(protocol::text_of(request->prefix())), request->cursor());
}

Task<void> report_and_reply(SessionId id, protocol::Uuid transaction_id) {
  const Result<CacheReport> report = co_await Cache::report();
  if (!report) co_return;
  std::vector<std::string_view> prefixes;
  std::vector<protocol::fbs::CacheCounts> counts;
  for (const CacheReport::Space& space : report->spaces) {
    const CacheCounters& all = space.counters;
    prefixes.push_back(space.prefix);
    counts.emplace_back(all.entries, all.bytes, all.hits, all.misses, all.sets, all.deletes,
                        all.expired, all.evicted_budget + all.evicted_namespace, all.refused);
  }
  const protocol::CacheStatsReplyBody body{.memory_used = report->memory_used,
                                           .memory_max = report->memory_max,
                                           .prefixes = prefixes,
                                           .counts = counts};
  answer_session(id, [&](Session& session) { session.reply(transaction_id, body); });
}

void serve_stats(Dispatch& dispatch, Session& session, const MessageView& message) {
  if (dispatch.payload_of<protocol::fbs::CacheStatsRequest>(session, message) == nullptr) return;
  spawn_answer(dispatch, session, message, "CacheStats", report_and_reply);
}

constexpr OpcodeRow row(Opcode opcode, const char* name, const char* request, Right right,
                        CostClass cost, ServeFunction serve) noexcept {
  return {.opcode = opcode,
          .name = name,
          .request = request,
          .right = right,
          .cost = cost,
          .serve = serve};
}

constexpr OpcodeRow kRows[] = {
    row(Opcode::CacheGet, "CacheGet", "CacheGetRequest", Right::cache_read, CostClass::light,
        serve_get),
    row(Opcode::CacheSet, "CacheSet", "CacheSetRequest", Right::cache_write, CostClass::memory,
        serve_set),
    row(Opcode::CacheDelete, "CacheDelete", "CacheDeleteRequest", Right::cache_write,
        CostClass::light, serve_delete),
    row(Opcode::CacheMultiGet, "CacheMultiGet", "CacheMultiGetRequest", Right::cache_read,
        CostClass::memory, serve_multi_get),
    row(Opcode::CacheScan, "CacheScan", "CacheScanRequest", Right::cache_read, CostClass::memory,
        serve_scan),
    row(Opcode::CacheDeletePrefix, "CacheDeletePrefix", "CacheDeletePrefixRequest",
        Right::cache_write, CostClass::light, serve_delete_prefix),
    row(Opcode::CacheTouch, "CacheTouch", "CacheTouchRequest", Right::cache_write, CostClass::light,
        serve_touch),
    row(Opcode::CacheIncrement, "CacheIncrement", "CacheIncrementRequest", Right::cache_write,
        CostClass::memory, serve_increment),
    row(Opcode::CacheAppend, "CacheAppend", "CacheAppendRequest", Right::cache_write,
        CostClass::memory, serve_append),
    row(Opcode::CacheLease, "CacheLease", "CacheLeaseRequest", Right::cache_write,
        CostClass::memory, serve_lease),
    row(Opcode::CacheStats, "CacheStats", "CacheStatsRequest", Right::cache_read, CostClass::light,
        serve_stats),
};

}  // namespace

std::span<const OpcodeRow> Cache::opcodes() noexcept {
  return kRows;
}

}  // namespace corelane::services
