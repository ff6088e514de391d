#pragma once
// What `corelane metrics` and `corelane top` show of the server's figures. Pure functions. What
// clients or a server chose as a name is made printable, and cut to its column.

#include <cstddef>
#include <string>

#include "protocol/verify.hpp"

namespace corelane::tools {

inline constexpr std::size_t kScreenColumns = 80;

// Lines for people: a table of cores, one of opcodes, and NAME{LABELS} VALUE for each figure, the
// sum over all cores.
std::string text_metrics(const protocol::fbs::NodeMetricsReply& reply);
// One JSON object in a line.
std::string json_metrics(const protocol::fbs::NodeMetricsReply& reply);

// The screen of `top`: lines of at most kScreenColumns.
std::string text_top(const protocol::fbs::NodeMetricsReply& node,
                     const protocol::fbs::DashboardMetricsReply& dashboard);
std::string json_top(const protocol::fbs::NodeMetricsReply& node,
                     const protocol::fbs::DashboardMetricsReply& dashboard);

// "950", "1.2k", "34M": at most 4 characters. Above 999 T: "inf".
std::string short_count(std::uint64_t value);
// Nanoseconds as "450ns", "1.2us", "34ms", "5s".
std::string short_time(std::uint64_t nanoseconds);

}  // namespace corelane::tools
