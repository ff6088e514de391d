#include "tools/client_command.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <exception>

#include "runtime/combine.hpp"
#include "runtime/features.hpp"
#include "runtime/runtime.hpp"
#include "runtime/signals.hpp"
#include "runtime/standard_stream.hpp"
#include "runtime/task_group.hpp"
#include "services/config/value.hpp"
#include "tools/connecting.hpp"
#include "tools/host_limits.hpp"
#include "tools/output.hpp"
#include "tools/talk.hpp"

namespace corelane::tools {

using services::config::parse_count;
using services::config::parse_duration;

using runtime::ErrorCode;
using runtime::Task;

namespace {

// Most bytes that wait for stdout while its reader pauses. With more, the command stops reading
// from the server.
constexpr std::size_t kOutputBytesMax = 16 * 1024 * 1024;
constexpr std::size_t kComplaintBytesMax = 64 * 1024;
// For a reader to take what was printed before a signal, and the last lines on stderr.
constexpr runtime::Nanoseconds kLastWords = runtime::kSecond;
// For a server that has been silent for the whole time limit to answer the close.
constexpr runtime::Nanoseconds kCloseOfSilent = 100 * runtime::kMillisecond;

// A command needs little: one connection.
runtime::RuntimeOptions small_runtime() {
  runtime::RuntimeOptions options;
  options.ring = {.entries = 64, .completion_entries = 1024, .direct_descriptors = 0};
  // Nobody looks at how long a command's turns are.
  options.stall_threshold = 0;
  return options;
}

// The number of the signal that asks for the end; 0 if cancelled.
Task<runtime::Result<int>> until_signal(runtime::SignalStream& signals) {
  const auto signal = co_await signals.next();
  if (!signal && signal.error().code != ErrorCode::cancelled) {
    co_return runtime::Unexpected{signal.error()};
  }
  co_return signal ? *signal : 0;
}

Task<int> connect_and_run(Talk& talk, const ClientBody& body) {
  ConnectProgress progress;
  const ServerUrl& url = *talk.options.url;
  const auto connected = co_await runtime::with_timeout(
      talk.options.timeout, connect(talk.client, url, talk.options.resolver, progress));
  if (connected) co_return co_await body(talk);
  if (connected.error().code == ErrorCode::cancelled) co_return kCancelled;
  const NotConnected why = explain(url, progress, connected.error());
  talk.complain(fmt::format("cannot connect to {}: {}", url.text, why.text));
  co_return why.exit_code;
}

Task<bool> flushed(Output& output, bool in_a_hurry) {
  if (!in_a_hurry) co_return co_await output.flushed();
  const auto all = co_await runtime::with_timeout(kLastWords, output.flushed());
  co_return all && *all;
}

// Ends the connection, and waits for the reader of what was printed.
Task<int> finish(Talk& talk, int code, bool in_a_hurry) {
  runtime::Nanoseconds patience = in_a_hurry ? kLastWords : Client::kCloseTimeout;
  if (code == kExitTimeout) patience = kCloseOfSilent;
  co_await runtime::when_all(talk.client.close(patience), flushed(talk.out, in_a_hurry));
  co_return 0;
}

void complain_of_signals(Talk& talk, const runtime::Error& error) {
  talk.complain(
      fmt::format("cannot wait for signals: {}; {}", describe(error), explain_limit(error.detail)));
}

Task<int> run_and_finish(Talk& talk, const ClientBody& body,
                         const runtime::BlockedSignals& blocked) {
  // Takes its descriptor before the thread of a look-up competes for the last one.
  runtime::SignalStream signals(blocked);
  if (signals.error() != 0) {
    complain_of_signals(talk, runtime::Error::from_errno(signals.error()));
    co_return kExitServerError;
  }
  const auto ended = co_await runtime::when_any(connect_and_run(talk, body), until_signal(signals),
                                                talk.out.until_failed());
  const int code = std::get<0>(ended.values).value();
  const auto& awaited = std::get<1>(ended.values).value();
  int signal = awaited ? *awaited : 0;
  const auto finished =
      co_await runtime::when_any(finish(talk, code, signal != 0), until_signal(signals));
  const auto& late = std::get<1>(finished.values).value();
  if (signal == 0 && late) signal = *late;
  if (!awaited) {
    // The same limit may have been in the way of the command itself, which has told then.
    if (code != kExitServerError) complain_of_signals(talk, awaited.error());
    co_return kExitServerError;
  }
  if (talk.out.failed() && (code == kExitOk || code == kCancelled) && signal == 0) {
    talk.complain("stdout takes nothing more: " + describe(*talk.out.failure()));
    co_return kExitOutputFailed;
  }
  if (const std::size_t lines = talk.out.waiting_lines(); lines != 0 && !talk.out.failed()) {
    talk.complain(fmt::format("{} lines are lost that stdout did not take in time", lines));
  }
  co_return signal == 0 ? code : 128 + signal;
}

Task<int> client_main(const ClientOptions& options, const ClientBody& body,
                      const runtime::BlockedSignals& blocked) {
  Output out(STDOUT_FILENO, kOutputBytesMax, Output::WhenFull::grow);
  Output err(STDERR_FILENO, kComplaintBytesMax, Output::WhenFull::drop);
  std::optional<Client> client;
  try {
    client.emplace();
  } catch (const std::exception& error) {
    complain(options, fmt::format("cannot start: {}; {}", error.what(), explain_limit(ENOMEM)));
    co_return kExitServerError;
  }
  Talk talk{*client, options, out, err};
  runtime::TaskGroup printing("printing");
  printing.spawn("stdout", Output::run, &out);
  printing.spawn("stderr", Output::run, &err);
  if (options.prints) printing.spawn("reader", Output::watch, &out);
  const int code = co_await run_and_finish(talk, body, blocked);
  co_await flushed(err, true);
  printing.cancel();
  co_await printing.join();
  co_return code;
}

// "5s", "250ms"; a number alone is seconds.
std::optional<runtime::Nanoseconds> parse_timeout(const std::string& text) {
  if (const auto seconds = parse_count(text); seconds.value && *seconds.value <= 86'400) {
    return static_cast<runtime::Nanoseconds>(*seconds.value) * runtime::kSecond;
  }
  return parse_duration(text).value;
}

}  // namespace

CommandLine client_command_line(const std::string& description, ClientOptions& options) {
  CommandLine line("corelane " + options.command, description);
  line.add_text("-u,--url", "URL", options.url_text,
                fmt::format("the server: ws://host:port/path, tcp://host:port, unix:/path "
                            "(default {})",
                            options.url_text));
  line.add_text("-t,--timeout", "TIME", options.timeout_text,
                "how long to wait for a connection, the look-up of a name included, and for each "
                "answer (default 10s)");
  line.add_flag("-j,--json", options.json, "print one JSON object a line");
  line.add_footer(
      "Exit code: 0 done, 1 the server said no, or this host's limits did, 2 wrong arguments, 3 "
      "cannot connect,\n4 no answer in time, 5 connection lost, 6 no io_uring on this host, 7 "
      "stdout takes nothing more");
  return line;
}

std::optional<int> parse_client_arguments(CommandLine& line, const Arguments& arguments,
                                          ClientOptions& options) {
  const CommandLine::Outcome outcome = line.parse(arguments);
  if (outcome.wants_help) {
    print_line(line.help());
    return kExitOk;
  }
  if (!outcome.problem.empty()) {
    complain(options, fmt::format("{}; see corelane {} --help", outcome.problem, options.command));
    return kExitUsage;
  }
  if (options.timeout_text) {
    const auto timeout = parse_timeout(*options.timeout_text);
    if (!timeout || *timeout <= 0) {
      complain(options, fmt::format("--timeout \"{}\": is no length of time above 0; write 5s, "
                                    "250ms or 2m",
                                    *options.timeout_text));
      return kExitUsage;
    }
    options.timeout = *timeout;
  }
  ParsedUrl parsed = parse_server_url(options.url_text);
  if (!parsed.url) {
    complain(options, fmt::format("--url {}: {}", options.url_text, parsed.problem));
    return kExitUsage;
  }
  options.url = std::move(parsed.url);
  return std::nullopt;
}

namespace {

int run_on_core(const ClientOptions& options, const ClientBody& body) {
  const runtime::BlockedSignals blocked({SIGINT, SIGTERM});
  runtime::Runtime runtime(small_runtime());
  const auto code = runtime.run([&] { return client_main(options, body, blocked); });
  if (code) return *code;
  const std::string limit = explain_limit(code.error().detail);
  // Without a descriptor left the features cannot be looked at either.
  const bool is_known = code.error().detail == EMFILE || code.error().detail == ENFILE;
  const std::string reason = is_known ? "" : explain_unavailable(runtime::probe_features());
  if (!reason.empty()) {
    complain(options, reason);
    return kExitUnavailable;
  }
  complain(options, "cannot make a ring: " + (limit.empty() ? describe(code.error()) : limit));
  return limit.empty() ? kExitUnavailable : kExitServerError;
}

}  // namespace

int run_client(const ClientOptions& options, const ClientBody& body) {
  const int code = run_on_core(options, body);
  // The thread of a look-up that nobody waits for any more: the end of main() would destroy what
  // it uses. Lines that were printed have been flushed.
  if (look_up_abandoned()) ::_exit(code);
  return code;
}

// Nobody may read it: what is not taken within a second is lost.
void complain(const ClientOptions& options, std::string_view text) {
  const std::string line = fmt::format("corelane {}: {}\n", options.command, text);
  runtime::write_within(STDERR_FILENO, line, static_cast<int>(kLastWords / runtime::kMillisecond));
}

void print_line(std::string_view line) {
  std::fwrite(line.data(), 1, line.size(), stdout);
  if (line.empty() || line.back() != '\n') std::fputc('\n', stdout);
  std::fflush(stdout);
}

}  // namespace corelane::tools
