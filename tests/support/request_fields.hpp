#pragma once
// What FlatBuffers makes of a request's payload: the second opinion on protocol::read_request().

#include "protocol/requests.hpp"
#include "protocol/verify.hpp"

namespace corelane::tests {

inline protocol::PingRequest fields(const protocol::fbs::PingRequest& table) {
  return {.data = protocol::bytes_of(table.data())};
}
inline protocol::PublishRequest fields(const protocol::fbs::PublishRequest& table) {
  return {.channel = protocol::text_of(table.channel()),
          .data = protocol::bytes_of(table.data()),
          .requires_ack = table.requires_ack()};
}
inline protocol::SendRequest fields(const protocol::fbs::SendRequest& table) {
  return {.session = protocol::from_fbs(table.session()),
          .data = protocol::bytes_of(table.data()),
          .requires_ack = table.requires_ack()};
}
inline protocol::BroadcastRequest fields(const protocol::fbs::BroadcastRequest& table) {
  return {.data = protocol::bytes_of(table.data()),
          .requires_ack = table.requires_ack(),
          .include_self = table.include_self()};
}
inline protocol::CacheGetRequest fields(const protocol::fbs::CacheGetRequest& table) {
  return {.key = protocol::text_of(table.key()), .if_newer_than = table.if_newer_than()};
}
inline protocol::CacheSetRequest fields(const protocol::fbs::CacheSetRequest& table) {
  return {.key = protocol::text_of(table.key()),
          .value = protocol::bytes_of(table.value()),
          .ttl_ms = table.ttl_ms(),
          .version = table.version(),
          .lease = table.lease(),
          .condition = table.condition(),
          .sliding = table.sliding()};
}
inline protocol::CacheDeleteRequest fields(const protocol::fbs::CacheDeleteRequest& table) {
  return {.key = protocol::text_of(table.key()), .version = table.version()};
}

}  // namespace corelane::tests
