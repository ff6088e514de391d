#pragma once
// The requests that carry data, as values: a payload is verified and its fields are found where
// they lie, at any address and without a copy. What write_frame() builds, and any builder that lays
// fields out in that order, is known by its first bytes: the vtable says where everything is, so
// that only what the offsets point at is left to check. Everything else goes to verify_payload(),
// and both accept the same payloads and read the same values in them.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "protocol/opcode.hpp"
#include "protocol/uuid.hpp"
#include "protocol/verify.hpp"

namespace corelane::protocol {

// Views point into the payload, or into the scratch if that was used.
struct PingRequest {
  std::span<const std::byte> data;
};
struct PublishRequest {
  std::string_view channel;
  std::span<const std::byte> data;
  bool requires_ack = false;
};
struct SendRequest {
  Uuid session{};
  std::span<const std::byte> data;
  bool requires_ack = false;
};
struct BroadcastRequest {
  std::span<const std::byte> data;
  bool requires_ack = false;
  bool include_self = false;
};
struct CacheGetRequest {
  std::string_view key;
  std::uint64_t if_newer_than = 0;
};
struct CacheSetRequest {
  std::string_view key;
  std::span<const std::byte> value;
  std::uint64_t ttl_ms = 0;
  std::uint64_t version = 0;
  std::uint64_t lease = 0;
  CacheCondition condition = CacheCondition::always;  // also numbers without a name
  bool sliding = false;
};
struct CacheDeleteRequest {
  std::string_view key;
  std::uint64_t version = 0;
};

// `none`, or malformed_payload with `request` unspecified. An empty payload is an empty table, as
// for verify_payload().
template <class Request>
ErrorCode read_request(std::span<const std::byte> payload, AlignedScratch& scratch,
                       Request& request);

namespace detail {

// The short way alone; false says nothing about the payload. For tests.
template <class Request>
bool read_usual(std::span<const std::byte> payload, Request& request) noexcept;

}  // namespace detail
}  // namespace corelane::protocol
