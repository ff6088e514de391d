#pragma once
// From a URL to a connected client: the look-up of the name and the race of its addresses, under
// one time limit of the caller's, and what to say when it comes to nothing.

#include <cstdint>
#include <string>

#include "runtime/result.hpp"
#include "runtime/task.hpp"
#include "tools/client.hpp"
#include "tools/name_lookup.hpp"
#include "tools/server_url.hpp"

namespace corelane::tools {

// How far connecting has come; for explain() when it has failed or was cancelled.
struct ConnectProgress {
  enum class Stage : std::uint8_t { looking_up, connecting };
  Stage stage = Stage::looking_up;
  NameAnswer answer;
};

// Errors: cancelled, those of look_up() and Client::connect(), and invalid_argument if the name has
// no address.
runtime::Task<runtime::Result<void>> connect(Client& client, const ServerUrl& url,
                                             Resolver resolver, ConnectProgress& progress);

struct NotConnected {
  std::string text;
  int exit_code;  // tools/exit_code.hpp
};
NotConnected explain(const ServerUrl& url, const ConnectProgress& progress,
                     const runtime::Error& error);

}  // namespace corelane::tools
