#pragma once
// How what a server says is written: a line of text for people, or one JSON object a line for
// programs. Pure functions.
//
// JSON: 64-bit numbers are strings, as in the test vectors of protocol/. Data is "data" if it is
// UTF-8, else "data_base64".

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "protocol/verify.hpp"
#include "runtime/types.hpp"

namespace corelane::tools {

using Data = std::span<const std::byte>;

std::string to_base64(Data data);
// For a terminal: control characters and what is not UTF-8 as \x1b, so that one message is one line
// and cannot command the terminal.
std::string to_printable(Data data);

std::string text_error(const protocol::fbs::ErrorReply& error);
std::string json_error(const protocol::fbs::ErrorReply& error);

// "CHANNEL OFFSET DATA".
std::string text_event(const protocol::fbs::ChannelEvent& event);
std::string json_event(const protocol::fbs::ChannelEvent& event);

// "direct FROM DATA" and "broadcast FROM DATA".
std::string text_direct(std::string_view kind, const protocol::fbs::UUID& from, Data data);
std::string json_direct(std::string_view kind, const protocol::fbs::UUID& from, Data data);

std::string text_ack(const protocol::fbs::AckReply& ack);
std::string json_ack(const protocol::fbs::AckReply& ack);

std::string text_whoami(const protocol::fbs::WhoAmIReply& reply);
std::string json_whoami(const protocol::fbs::WhoAmIReply& reply);

// "LIMIT: N left, N used, N exceeded, full in TIME".
std::string text_quota(const protocol::fbs::QuotaLimit& limit, const protocol::fbs::QuotaUse& use,
                       bool is_permissive);
std::string json_quota(const protocol::fbs::QuotaLimit& limit, const protocol::fbs::QuotaUse& use,
                       bool is_permissive);

std::string text_pong(runtime::Nanoseconds round_trip, const protocol::fbs::PongReply& reply);
std::string json_pong(runtime::Nanoseconds round_trip, const protocol::fbs::PongReply& reply);

}  // namespace corelane::tools
