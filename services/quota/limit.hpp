#pragma once
// Limit: one line of a quota: what is counted, for which requests, how much, and what follows when
// it is too much. As text, in files and on command lines:
//
//   METRIC TOKENS/PERIOD [burst TOKENS] [ACTION] [for OPCODE|CLASS]
//
//   requests 1000/s                          reject what is beyond 1,000 a second, bursts of 1,000
//   bytes_in 1MiB/s burst 4MiB delay         then stop reading for the missing time
//   requests 5/10s burst 20 reject for Publish
//   deliveries 10000/min warn
//
// Plain values; pure functions.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/opcode.hpp"
#include "services/config/value.hpp"
#include "services/quota/bucket.hpp"

namespace corelane::services::quota {

using protocol::fbs::QuotaAction;
using protocol::fbs::QuotaClass;
using protocol::fbs::QuotaMetric;
using protocol::fbs::QuotaScope;

// Most limits of one session, address or principal.
inline constexpr std::size_t kLimitsMax = 16;

struct Limit {
  Rate rate{};
  QuotaMetric metric = QuotaMetric::requests;
  QuotaAction action = QuotaAction::reject;
  // Requests that count. An opcode of its own goes before the class. Limits of what is sent
  // (bytes_out, deliveries) have neither.
  protocol::Opcode opcode = protocol::Opcode::None;
  QuotaClass opcode_class = QuotaClass::every;

  // Counts what clients send; otherwise what the server sends to them.
  bool is_inward() const noexcept { return metric <= QuotaMetric::bytes_in; }
  bool takes_every_request() const noexcept {
    return opcode == protocol::Opcode::None && opcode_class == QuotaClass::every;
  }
  bool takes(protocol::Opcode of, QuotaClass its_class) const noexcept {
    if (opcode != protocol::Opcode::None) return opcode == of;
    return opcode_class == QuotaClass::every || opcode_class == its_class;
  }
  friend bool operator==(const Limit&, const Limit&) = default;
};
using Limits = std::vector<Limit>;

config::Parsed<Limit> parse_limit(std::string_view text);
// The text that parse_limit() reads; "requests 1000/s burst 2000 reject for Publish".
std::string format_limit(const Limit& limit);

// "requests", "address", ...
std::string_view name_of(QuotaMetric metric) noexcept;
std::string_view name_of(QuotaAction action) noexcept;
std::string_view name_of(QuotaScope scope) noexcept;

protocol::fbs::QuotaLimit to_wire(const Limit& limit) noexcept;
// Why this one cannot be; empty if it can, and `limit` is set.
std::string from_wire(const protocol::fbs::QuotaLimit& wire, Limit& limit);

}  // namespace corelane::services::quota
