// The completions of the cache: as replies to requests, and as results of coroutines.

#include <fmt/format.h>

#include "services/cache/cache.hpp"
#include "services/dispatch/dispatch.hpp"
#include "services/reply/reply.hpp"

namespace corelane::services {

using protocol::ErrorCode;
using protocol::Opcode;
using protocol::Uuid;
using runtime::SharedBytes;

namespace {

Opcode opcode_of(CacheOperation operation) noexcept {
  switch (operation) {
    case CacheOperation::get:
      return Opcode::CacheGet;
    case CacheOperation::set:
      return Opcode::CacheSet;
    case CacheOperation::remove:
      return Opcode::CacheDelete;
    case CacheOperation::touch:
      return Opcode::CacheTouch;
    case CacheOperation::increment:
      return Opcode::CacheIncrement;
    case CacheOperation::append:
      return Opcode::CacheAppend;
    case CacheOperation::lease:
      return Opcode::CacheLease;
    case CacheOperation::release:
      break;  // nobody waits for it
  }
  return Opcode::None;
}

// Requests that can never be served, or not now, get an Error. Everything else is in the reply.
bool is_refusal(ErrorCode code) noexcept {
  return code == ErrorCode::key_invalid || code == ErrorCode::payload_too_large ||
         code == ErrorCode::overloaded || code == ErrorCode::unavailable;
}

[[gnu::cold]] void refuse(Session& session, const Uuid& transaction_id, const CacheAnswer& answer) {
  const CacheServiceOptions& options = Cache::local().options();
  std::string text;
  std::uint32_t retry_after_ms = 0;
  switch (answer.code) {
    case ErrorCode::key_invalid:
      text = fmt::format("a cache key has 1 to {} bytes (cache.key_bytes_max) of UTF-8",
                         options.key_bytes_max);
      break;
    case ErrorCode::payload_too_large:
      text = fmt::format(
          "a value has at most {} bytes (cache.value_bytes_max), and no more than its namespace or "
          "its core's share of cache.memory_bytes_max may hold",
          options.value_bytes_max);
      break;
    case ErrorCode::unavailable:
      text = "the server stops: nobody computes the value any more";
      break;
    default:
      text = answer.operation == CacheOperation::lease
                 ? fmt::format("{} values are being computed for this core's keys",
                               CacheLeases::kLeasesMax)
                 : "readers hold the cache's memory (cache.memory_bytes_max) that could give way";
      retry_after_ms = Cache::kRetryAfterMs;
      break;
  }
  session.send_error(transaction_id, opcode_of(answer.operation), answer.code, text,
                     retry_after_ms);
}

std::uint32_t flags_of(bool sliding) noexcept {
  return sliding ? kCacheSlidingFlag : 0;
}

// A value with a block of its own leaves from there, behind a head that is made for this reply: the
// block has zeros behind the value, up to a multiple of 8.
void reply_get(Session& session, const Uuid& transaction_id, const CacheAnswer& answer) {
  const protocol::CacheGetReplyBody body{.version = answer.version,
                                         .ttl_left_ms = answer.ttl_ms,
                                         .value = answer.bytes,
                                         .flags = flags_of(answer.sliding),
                                         .code = answer.code};
  if (answer.block == nullptr) {
    session.reply(transaction_id, body);
    return;
  }
  const protocol::MessageHeader header{.transaction_id = transaction_id,
                                       .timestamp = runtime::Core::current().wall_now()};
  const protocol::ValueFrame frame = protocol::value_frame(header, answer.bytes.size());
  const std::span<const std::byte> tail{answer.block->data(), frame.whole_bytes - frame.head_bytes};
  RT_DEBUG_ASSERT(tail.size() <= answer.block->capacity());
  session.send_split(transaction_id, Opcode::CacheGetReply, frame.head_bytes, *answer.block, tail,
                     [&](std::span<std::byte> head) {
                       protocol::write_value_head(head, header, body, answer.bytes.size());
                     });
}

void reply(Session& session, const Uuid& transaction_id, const CacheAnswer& answer) {
  if (is_refusal(answer.code)) [[unlikely]] {
    return refuse(session, transaction_id, answer);
  }
  const auto send_changed = [&]<class Body>(std::type_identity<Body>) {
    session.reply(transaction_id, Body{.version = answer.version, .code = answer.code});
  };
  switch (answer.operation) {
    case CacheOperation::get:
      return reply_get(session, transaction_id, answer);
    case CacheOperation::set:
      return send_changed(std::type_identity<protocol::CacheSetReplyBody>{});
    case CacheOperation::remove:
      return send_changed(std::type_identity<protocol::CacheDeleteReplyBody>{});
    case CacheOperation::touch:
      return send_changed(std::type_identity<protocol::CacheTouchReplyBody>{});
    case CacheOperation::append:
      return send_changed(std::type_identity<protocol::CacheAppendReplyBody>{});
    case CacheOperation::increment:
      session.reply(transaction_id,
                    protocol::CacheIncrementReplyBody{
                        .version = answer.version, .value = answer.number, .code = answer.code});
      return;
    case CacheOperation::lease:
      session.reply(transaction_id, protocol::CacheLeaseReplyBody{.version = answer.version,
                                                                  .ttl_left_ms = answer.ttl_ms,
                                                                  .value = answer.bytes,
                                                                  .lease = answer.lease,
                                                                  .flags = flags_of(answer.sliding),
                                                                  .code = answer.code});
      return;
    case CacheOperation::release:
      return;
  }
}

// A handle of the value: of its block, or of a copy of a small one.
CacheValue value_of(const CacheAnswer& answer) {
  if (answer.block != nullptr) return {answer.block->share(), answer.bytes.size()};
  if (answer.bytes.empty()) return {};
  return {SharedBytes::copy(answer.bytes), answer.bytes.size()};
}

bool give_to(const ReplyTo& to, const CacheAnswer& answer) {
  const runtime::ReplyName name{.core = to.core, .slot = to.slot, .generation = to.generation};
  switch (answer.operation) {
    case CacheOperation::get:
      return runtime::give(name, got_of(answer));
    case CacheOperation::increment:
      return runtime::give(
          name,
          CacheCounted{.code = answer.code, .version = answer.version, .number = answer.number});
    case CacheOperation::lease:
      return runtime::give(name, CacheLeased{.got = got_of(answer), .lease = answer.lease});
    default:
      return runtime::give(name, CacheStored{.code = answer.code, .version = answer.version});
  }
}

// As many values as fit in a frame that the client takes; the others are to be asked for alone.
void reply_many(Session& session, const Uuid& transaction_id, const CacheManyGot& done) {
  std::size_t room = Dispatch::local().options().frame_bytes_max;
  const std::size_t results_bytes = done.got.size() * sizeof(protocol::fbs::CacheResult) + 256;
  room -= std::min(room, results_bytes);
  std::vector<protocol::fbs::CacheResult> results;
  std::vector<std::byte> values;
  results.reserve(done.got.size());
  for (const CacheGot& got : done.got) {
    const std::span<const std::byte> value = got.value.bytes();
    const bool fits = value.size() <= room - values.size();
    if (fits) values.insert(values.end(), value.begin(), value.end());
    results.emplace_back(got.version, got.ttl_left_ms,
                         static_cast<std::uint32_t>(fits ? value.size() : 0),
                         fits ? got.code : ErrorCode::payload_too_large,
                         static_cast<std::uint16_t>(flags_of(got.sliding)));
  }
  session.reply(transaction_id,
                protocol::CacheMultiGetReplyBody{.results = results, .values = values});
}

HttpAnswer json_of(ErrorCode code, std::uint64_t version) {
  return {.code = code, .json = fmt::format(R"({{"version":"{}"}})", version)};
}

}  // namespace

ErrorCode code_of(CacheStatus status) noexcept {
  switch (status) {
    case CacheStatus::ok:
      return ErrorCode::none;
    case CacheStatus::missing:
      return ErrorCode::key_missing;
    case CacheStatus::exists:
      return ErrorCode::key_exists;
    case CacheStatus::not_modified:
      return ErrorCode::not_modified;
    case CacheStatus::version_mismatch:
      return ErrorCode::version_mismatch;
    case CacheStatus::key_invalid:
      return ErrorCode::key_invalid;
    case CacheStatus::too_large:
      return ErrorCode::payload_too_large;
    case CacheStatus::no_memory:
      return ErrorCode::overloaded;
    case CacheStatus::not_a_number:
      return ErrorCode::not_a_number;
    case CacheStatus::out_of_bounds:
      return ErrorCode::out_of_bounds;
  }
  return ErrorCode::internal;
}

CacheGot got_of(const CacheAnswer& answer) {
  return {.code = answer.code,
          .sliding = answer.sliding,
          .version = answer.version,
          .ttl_left_ms = answer.ttl_ms,
          .value = value_of(answer)};
}

bool complete_answer(const ReplyTo& to, const CacheAnswer& answer) noexcept {
  switch (to.kind) {
    case ReplyTo::Kind::nobody:
      return true;
    case ReplyTo::Kind::session: {
      Session* session =
          Sessions::local().find({.core = to.core, .slot = to.slot, .generation = to.generation});
      if (session == nullptr) return false;
      reply(*session, to.transaction_id, answer);
      if (to.wants_success) session->answered();
      return true;
    }
    case ReplyTo::Kind::task:
      return give_to(to, answer);
    case ReplyTo::Kind::http:
      answer_http(to, json_of(answer.code, answer.version));
      return true;
  }
  return false;
}

void complete(const ReplyTo& to, CacheManyGot&& done) noexcept {
  complete_as(
      to, std::move(done), [&](Session& session) { reply_many(session, to.transaction_id, done); },
      [&]() -> HttpAnswer { return {.json = fmt::format(R"({{"keys":{}}})", done.got.size())}; });
}

}  // namespace corelane::services
