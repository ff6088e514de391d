#pragma once
// The rights of a Unix socket's file as people write them (server.unix_mode, unix_owner,
// unix_group). Names are looked up in /etc/passwd and /etc/group alone: a directory service may
// take as long as it likes to answer, and a server must start, or say why not, without it.

#include <cstdint>
#include <optional>
#include <string_view>

namespace corelane::services {

// "0660": octal digits, at most 0777.
std::optional<std::int64_t> parse_mode(std::string_view text);

// A name or a number. Empty: no such name.
std::optional<std::int64_t> find_user(std::string_view text);
std::optional<std::int64_t> find_group(std::string_view text);

}  // namespace corelane::services
