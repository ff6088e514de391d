// `quota get` and `quota set`.

#include <fmt/core.h>

#include <cstdint>
#include <string>
#include <vector>

#include "services/quota/limit.hpp"
#include "tools/client_command.hpp"
#include "tools/client_output.hpp"
#include "tools/talk.hpp"

namespace corelane::tools {
namespace {

using protocol::Opcode;
using runtime::Task;
using services::quota::Limit;
using services::quota::QuotaScope;

struct QuotaSettings {
  std::string session_text;
  std::string address;
  std::string principal;
  std::vector<std::string> limit_texts;
  // From the texts.
  QuotaScope scope = QuotaScope::session;
  protocol::Uuid session{};
  std::string key;
  std::vector<protocol::fbs::QuotaLimit> limits;
  bool use_defaults = false;
};

// The fields of whose quota it is. Empty, or what is wrong with them.
std::string read_target(QuotaSettings& settings) {
  const int named = int{!settings.session_text.empty()} + int{!settings.address.empty()} +
                    int{!settings.principal.empty()};
  if (named > 1) return "name one of --session, --address and --principal";
  if (!settings.session_text.empty()) {
    const auto session = protocol::parse_uuid(settings.session_text);
    if (!session) return fmt::format("--session {}: is no session id", settings.session_text);
    settings.session = *session;
  }
  if (!settings.address.empty()) settings.scope = QuotaScope::address;
  if (!settings.principal.empty()) settings.scope = QuotaScope::principal;
  settings.key = settings.address + settings.principal;
  return {};
}

std::string read_limits(QuotaSettings& settings) {
  const auto& texts = settings.limit_texts;
  if (texts.size() == 1 && texts[0] == "none") return {};
  if (texts.size() == 1 && texts[0] == "default") {
    settings.use_defaults = true;
    return {};
  }
  for (const std::string& text : texts) {
    const auto limit = services::quota::parse_limit(text);
    if (!limit.value) {
      return fmt::format("the limit \"{}\" {}; write one like \"{}\"", text, limit.problem,
                         limit.suggestion);
    }
    settings.limits.push_back(services::quota::to_wire(*limit.value));
  }
  return {};
}

// Prints a line for each limit.
template <class Body>
Task<int> ask(const Talk& talk, const Body& body) {
  int exit_code = kExitOk;
  auto reply = co_await talk.ask(body, exit_code);
  if (!reply) co_return exit_code;
  const auto* quota = reply->template as<protocol::fbs::QuotaReply>(Opcode::QuotaReply);
  if (quota == nullptr || quota->limits() == nullptr || quota->uses() == nullptr ||
      quota->limits()->size() != quota->uses()->size()) {
    co_return talk.tell_unreadable();
  }
  for (flatbuffers::uoffset_t i = 0; i < quota->limits()->size(); ++i) {
    const auto print = talk.options.json ? json_quota : text_quota;
    talk.print(print(*quota->limits()->Get(i), *quota->uses()->Get(i), quota->permissive()));
  }
  if (quota->limits()->size() == 0 && !talk.options.json) talk.print("no limits");
  co_return kExitOk;
}

CommandLine quota_command_line(const std::string& description, ClientOptions& options,
                               QuotaSettings& settings) {
  CommandLine line = client_command_line(description, options);
  line.add_text("--session", "ID", settings.session_text, "of this session (default: the own one)");
  line.add_text("--address", "ADDRESS", settings.address, "of all sessions from this address");
  line.add_text("--principal", "NAME", settings.principal, "of all sessions of this user");
  return line;
}

int refuse(const ClientOptions& options, const std::string& problem) {
  complain(options, problem);
  return kExitUsage;
}

Task<int> get(Talk& talk, const QuotaSettings& settings) {
  const protocol::GetQuotaBody body{
      .scope = settings.scope, .session = settings.session, .key = settings.key};
  co_return co_await talk.while_welcome(ask(talk, body));
}

Task<int> set(Talk& talk, const QuotaSettings& settings) {
  const protocol::SetQuotaBody body{.scope = settings.scope,
                                    .session = settings.session,
                                    .key = settings.key,
                                    .limits = settings.limits,
                                    .use_defaults = settings.use_defaults};
  co_return co_await talk.while_welcome(ask(talk, body));
}

int run_get(const Arguments& arguments) {
  ClientOptions options("quota get");
  QuotaSettings settings;
  auto line = quota_command_line(
      "Prints a line for each limit: what it is, tokens left, used, how often they lacked, and the "
      "time until it\nis full.",
      options, settings);
  if (const auto code = parse_client_arguments(line, arguments, options)) return *code;
  if (const std::string problem = read_target(settings); !problem.empty()) {
    return refuse(options, problem);
  }
  return run_client(options, [&](Talk& talk) { return get(talk, settings); });
}

int run_set(const Arguments& arguments) {
  ClientOptions options("quota set");
  QuotaSettings settings;
  auto line = quota_command_line(
      "Sets limits in place of those that were there, and prints them as `quota get` does.",
      options, settings);
  line.add_arguments("LIMIT", settings.limit_texts,
                     "\"METRIC TOKENS/PERIOD [burst TOKENS] [warn|delay|reject|terminate] [for "
                     "OPCODE|CLASS]\", none, or default; METRIC: requests, bytes_in, bytes_out, "
                     "deliveries");
  if (const auto code = parse_client_arguments(line, arguments, options)) return *code;
  for (const std::string& problem : {read_target(settings), read_limits(settings)}) {
    if (!problem.empty()) return refuse(options, problem);
  }
  return run_client(options, [&](Talk& talk) { return set(talk, settings); });
}

constexpr std::string_view kUsage =
    "corelane quota get [--session ID|--address ADDRESS|--principal NAME]\n"
    "corelane quota set [--session ID|--address ADDRESS|--principal NAME] LIMIT...|none|default\n\n"
    "Reads and sets quotas; `corelane quota get --help` and `corelane quota set --help` say more.";

}  // namespace

int run_quota(const Arguments& arguments) {
  const std::string verb = arguments.empty() ? "" : arguments.front();
  const Arguments rest(arguments.begin() + (arguments.empty() ? 0 : 1), arguments.end());
  if (verb == "get") return run_get(rest);
  if (verb == "set") return run_set(rest);
  if (verb == "--help" || verb == "-h") {
    print_line(kUsage);
    return kExitOk;
  }
  return refuse(ClientOptions("quota"),
                verb.empty()
                    ? "write get or set behind it; see corelane quota --help"
                    : fmt::format("{} is neither get nor set; see corelane quota --help", verb));
}

}  // namespace corelane::tools
