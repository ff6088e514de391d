#include "tools/talk.hpp"

#include <fmt/format.h>

#include <utility>

#include "tools/client_output.hpp"

namespace corelane::tools {

using runtime::ErrorCode;
using runtime::Task;

void Talk::complain(std::string_view text) const {
  err.line(fmt::format("corelane {}: {}\n", options.command, text));
}

int Talk::tell_failure(const runtime::Error& error) const {
  switch (error.code) {
    case ErrorCode::timed_out:
      complain("no answer within the time limit (--timeout)");
      return kExitTimeout;
    case ErrorCode::closed:
      complain(client.end_text());
      return kExitLost;
    case ErrorCode::cancelled:
      return kCancelled;
    default:
      complain(describe(error));
      return kExitLost;
  }
}

int Talk::tell_server_error(Incoming& message) const {
  const auto* error = message.as<protocol::fbs::ErrorReply>(protocol::Opcode::Error);
  if (error == nullptr) {
    complain("the server sent an error that cannot be read");
  } else if (options.json) {
    print(json_error(*error));
  } else {
    complain(text_error(*error));
  }
  return kExitServerError;
}

int Talk::tell_unreadable() const {
  complain("the server sent a reply that cannot be read");
  return kExitServerError;
}

Task<int> Talk::while_welcome(Task<int>&& command) const {
  auto any = co_await runtime::when_any(std::move(command), client.event());
  const int code = std::get<0>(any.values).value();
  runtime::Result<Incoming>& news = std::get<1>(any.values).value();
  // An Error that came before the command's end, or together with its last answer.
  std::optional<Incoming> refusal;
  if (news) {
    refusal = std::move(*news);
  } else {
    refusal = client.take_event();
  }
  if (refusal && (any.index == 1 || code == kExitOk)) co_return tell_server_error(*refusal);
  if (code == kCancelled && any.index == 1) co_return tell_failure(news.error());
  co_return code;
}

}  // namespace corelane::tools
