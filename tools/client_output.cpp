#include "tools/client_output.hpp"

#include <fmt/format.h>

#include <boost/json.hpp>

#include "protocol/uuid.hpp"
#include "services/config/value.hpp"
#include "services/quota/limit.hpp"
#include "ws/utf8.hpp"

namespace corelane::tools {
namespace {

namespace json = boost::json;

std::string uuid_text(const protocol::fbs::UUID* uuid) {
  return protocol::to_text(protocol::from_fbs(uuid));
}

std::string_view as_text(Data data) {
  return {reinterpret_cast<const char*>(data.data()), data.size()};
}

void add_data(json::object& object, Data data) {
  if (ws::is_valid_utf8(data)) {
    object["data"] = as_text(data);
  } else {
    object["data_base64"] = to_base64(data);
  }
}

std::string line(const json::object& object) {
  return json::serialize(object);
}

// Length of the UTF-8 sequence at the front of `data` if it is one, else 0.
std::size_t sequence_bytes(Data data) {
  for (std::size_t bytes = 1; bytes <= std::min<std::size_t>(4, data.size()); ++bytes) {
    if (ws::is_valid_utf8(data.first(bytes))) return bytes;
  }
  return 0;
}

// A newer server may have metrics and actions that this program does not know.
std::string limit_text(const protocol::fbs::QuotaLimit& wire) {
  services::quota::Limit limit;
  return services::quota::from_wire(wire, limit).empty() ? services::quota::format_limit(limit)
                                                         : "a limit of a newer server";
}

std::string code_name(protocol::ErrorCode code) {
  const std::string_view name = protocol::error_code_name(code);
  if (!name.empty()) return std::string(name);
  return fmt::format("error {}", static_cast<unsigned>(code));
}

}  // namespace

std::string to_base64(Data data) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((data.size() + 2) / 3 * 4);
  for (std::size_t at = 0; at < data.size(); at += 3) {
    const std::size_t left = std::min<std::size_t>(3, data.size() - at);
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      bits = bits << 8 | (i < left ? std::to_integer<std::uint32_t>(data[at + i]) : 0);
    }
    for (std::size_t i = 0; i < 4; ++i) {
      text += i <= left ? kDigits[bits >> (18 - 6 * i) & 63] : '=';
    }
  }
  return text;
}

std::string to_printable(Data data) {
  std::string text;
  text.reserve(data.size());
  while (!data.empty()) {
    const auto first = std::to_integer<unsigned>(data.front());
    const std::size_t bytes = sequence_bytes(data);
    // U+0080 to U+009F are control characters too; a tab does no harm.
    const bool is_c1 = bytes == 2 && first == 0xc2 && std::to_integer<unsigned>(data[1]) < 0xa0;
    const bool is_control = bytes == 1 && ((first < 0x20 && first != '\t') || first == 0x7f);
    const std::size_t taken = std::max<std::size_t>(bytes, 1);
    if (bytes == 0 || is_c1 || is_control) {
      for (const std::byte byte : data.first(taken)) {
        text += fmt::format("\\x{:02x}", std::to_integer<unsigned>(byte));
      }
    } else {
      text += as_text(data.first(taken));
    }
    data = data.subspan(taken);
  }
  return text;
}

std::string text_error(const protocol::fbs::ErrorReply& error) {
  std::string text = code_name(error.code());
  const Data words = std::as_bytes(std::span{protocol::text_of(error.text())});
  if (!words.empty()) text += ": " + to_printable(words);
  if (error.retry_after_ms() != 0) {
    text += fmt::format(" (try again in {} ms)", error.retry_after_ms());
  }
  return text;
}

std::string json_error(const protocol::fbs::ErrorReply& error) {
  const Data words = std::as_bytes(std::span{protocol::text_of(error.text())});
  return line({{"kind", "error"},
               {"code", code_name(error.code())},
               {"number", static_cast<unsigned>(error.code())},
               {"text", ws::is_valid_utf8(words) ? std::string(as_text(words)) : ""},
               {"failed_opcode", protocol::number(error.failed_opcode())},
               {"retry_after_ms", error.retry_after_ms()}});
}

std::string text_event(const protocol::fbs::ChannelEvent& event) {
  const Data channel = std::as_bytes(std::span{event.channel()->string_view()});
  return fmt::format("{} {} {}", to_printable(channel), event.offset(),
                     to_printable(protocol::bytes_of(event.data())));
}

std::string json_event(const protocol::fbs::ChannelEvent& event) {
  json::object object{{"kind", "event"},
                      {"channel", event.channel()->string_view()},
                      {"epoch", std::to_string(event.epoch())},
                      {"offset", std::to_string(event.offset())}};
  add_data(object, protocol::bytes_of(event.data()));
  if (event.publisher() != nullptr) object["publisher"] = uuid_text(event.publisher());
  return line(object);
}

std::string text_direct(std::string_view kind, const protocol::fbs::UUID& from, Data data) {
  return fmt::format("{} {} {}", kind, uuid_text(&from), to_printable(data));
}

std::string json_direct(std::string_view kind, const protocol::fbs::UUID& from, Data data) {
  json::object object{{"kind", kind}, {"from", uuid_text(&from)}};
  add_data(object, data);
  return line(object);
}

std::string text_ack(const protocol::fbs::AckReply& ack) {
  return fmt::format("delivered to {}", ack.delivered());
}

std::string json_ack(const protocol::fbs::AckReply& ack) {
  return line({{"kind", "ack"},
               {"delivered", ack.delivered()},
               {"epoch", std::to_string(ack.epoch())},
               {"offset", std::to_string(ack.offset())},
               {"level", protocol::fbs::EnumNameAckLevel(ack.level())}});
}

std::string text_whoami(const protocol::fbs::WhoAmIReply& reply) {
  std::string text = fmt::format("session            {}\ncore               {}\n",
                                 uuid_text(reply.session()), reply.core());
  const auto add = [&](std::string_view name, std::string_view value) {
    if (!value.empty()) {
      text += fmt::format("{:<19}{}\n", name, to_printable(std::as_bytes(std::span{value})));
    }
  };
  add("transport", protocol::fbs::EnumNameTransport(reply.transport()));
  add("remote address", protocol::text_of(reply.remote_address()));
  add("node", protocol::text_of(reply.node()));
  add("server version", protocol::text_of(reply.server_version()));
  text += fmt::format("largest frame      {}\nmost channels      {}", reply.frame_bytes_max(),
                      reply.subscriptions_max());
  return text;
}

std::string json_whoami(const protocol::fbs::WhoAmIReply& reply) {
  return line({{"kind", "whoami"},
               {"session", uuid_text(reply.session())},
               {"core", reply.core()},
               {"transport", protocol::fbs::EnumNameTransport(reply.transport())},
               {"remote_address", protocol::text_of(reply.remote_address())},
               {"node", protocol::text_of(reply.node())},
               {"server_version", protocol::text_of(reply.server_version())},
               {"frame_bytes_max", reply.frame_bytes_max()},
               {"subscriptions_max", reply.subscriptions_max()}});
}

std::string text_pong(runtime::Nanoseconds round_trip, const protocol::fbs::PongReply& reply) {
  return fmt::format("pong in {:.3f} ms, {} bytes", static_cast<double>(round_trip) / 1e6,
                     protocol::bytes_of(reply.data()).size());
}

std::string json_pong(runtime::Nanoseconds round_trip, const protocol::fbs::PongReply& reply) {
  return line({{"kind", "pong"},
               {"round_trip_ns", round_trip},
               {"bytes", protocol::bytes_of(reply.data()).size()},
               {"server_time", std::to_string(reply.server_time())}});
}

std::string text_quota(const protocol::fbs::QuotaLimit& limit, const protocol::fbs::QuotaUse& use,
                       bool is_permissive) {
  const auto full_in =
      static_cast<runtime::Nanoseconds>(std::min<std::uint64_t>(use.full_in_ns(), INT64_MAX));
  // To the millisecond: more digits say nothing to people.
  const runtime::Nanoseconds rounded =
      full_in < runtime::kMillisecond ? full_in : full_in - full_in % runtime::kMillisecond;
  return fmt::format("{}: {} left, {} used, {} exceeded, full in {}{}", limit_text(limit),
                     use.left(), use.used(), use.exceeded(),
                     services::config::format_duration(rounded),
                     is_permissive ? " (counted only)" : "");
}

std::string json_quota(const protocol::fbs::QuotaLimit& limit, const protocol::fbs::QuotaUse& use,
                       bool is_permissive) {
  return line({{"kind", "quota"},
               {"limit", limit_text(limit)},
               {"left", std::to_string(use.left())},
               {"used", std::to_string(use.used())},
               {"exceeded", std::to_string(use.exceeded())},
               {"full_in_ns", std::to_string(use.full_in_ns())},
               {"permissive", is_permissive}});
}

}  // namespace corelane::tools
