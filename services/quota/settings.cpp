// The settings of quotas.

#include <algorithm>

#include "services/config/rows.hpp"
#include "services/quota/quota.hpp"

namespace corelane::services {
namespace {

using config::TextRule;
using config::Texts;
using config::Value;

constexpr std::size_t kNameBytesMax = 64;

std::string check_limit(std::string_view text) {
  return quota::parse_limit(text).problem;
}

std::string check_name(std::string_view text) {
  const bool is_plain = text.size() <= kNameBytesMax && std::ranges::all_of(text, [](char c) {
                          return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                                 (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' ||
                                 c == '@';
                        });
  return is_plain ? "" : "is no user's name";
}

quota::Limits parse_all(const Texts& texts) {
  quota::Limits limits;
  for (const std::string& text : texts) {
    const auto limit = quota::parse_limit(text);
    RT_ASSERT(limit.value.has_value());  // the row's check has taken it
    limits.push_back(*limit.value);
  }
  return limits;
}

void store_session(QuotaOptions& options, const Texts& texts) {
  options.session = parse_all(texts);
}
void store_address(QuotaOptions& options, const Texts& texts) {
  options.address = parse_all(texts);
}
void store_principal(QuotaOptions& options, const Texts& texts) {
  options.principal = parse_all(texts);
}

Value no_limits(const void*) {
  return Texts{};
}

constexpr TextRule kLimitRule{
    check_limit,
    "\"METRIC TOKENS/PERIOD [burst TOKENS] [warn|delay|reject|terminate] [for OPCODE|CLASS]\"",
    "requests 1000/s burst 2000 reject"};

constexpr config::Row<QuotaOptions> kSettings[] = {
    config::list_by<store_session>({"quota", "session", "quota-session"}, kLimitRule, no_limits,
                                   "limits of each session; none is no limit"),
    config::list_by<store_address>({"quota", "address", "quota-address"}, kLimitRule, no_limits,
                                   "limits of all sessions from one address together"),
    config::list_by<store_principal>({"quota", "principal", "quota-principal"}, kLimitRule,
                                     no_limits, "limits of all sessions of one user together"),
    config::text<&QuotaOptions::principal_name>(
        {"quota", "principal_name"},
        {check_name, "at most 64 letters, digits, '-', '_', '.' and '@'", "anonymous"},
        "user of sessions that say none; empty: each address is one"),
    config::boolean<&QuotaOptions::permissive>({"quota", "permissive", "quota-permissive"},
                                               "count what exceeds limits, and do nothing else"),
    config::boolean<&QuotaOptions::track>(
        {"quota", "track"},
        "know the address of each session, for quotas of addresses and users that are set later"),
    config::boolean<&QuotaOptions::loopback_sets>(
        {"quota", "loopback_sets"},
        "let clients of this host set quotas; false behind a proxy on this host"),
};

}  // namespace

std::span<const config::Row<QuotaOptions>> Quota::settings() noexcept {
  return kSettings;
}

}  // namespace corelane::services
