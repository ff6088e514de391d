#include "services/quota/limit.hpp"

#include <fmt/format.h>

#include <array>
#include <optional>

namespace corelane::services::quota {
namespace {

using config::Parsed;
using protocol::Opcode;
using runtime::Nanoseconds;

struct Unit {
  std::string_view name;
  Nanoseconds period;
};
constexpr Nanoseconds kMinute = 60 * runtime::kSecond;
// The first of a length is the one that is written.
constexpr std::array kUnits{
    Unit{"s", runtime::kSecond}, Unit{"min", kMinute},        Unit{"m", kMinute},
    Unit{"h", 60 * kMinute},     Unit{"day", 1440 * kMinute}, Unit{"ms", runtime::kMillisecond},
};

template <class Enum>
std::optional<Enum> find_name(std::string_view text, Enum last) {
  for (std::uint8_t i = 0; i <= static_cast<std::uint8_t>(last); ++i) {
    if (name_of(static_cast<Enum>(i)) == text) return static_cast<Enum>(i);
  }
  return std::nullopt;
}

std::string_view class_name(QuotaClass opcode_class) noexcept {
  return protocol::fbs::EnumNameQuotaClass(opcode_class);
}

bool counts_bytes(QuotaMetric metric) noexcept {
  return metric == QuotaMetric::bytes_in || metric == QuotaMetric::bytes_out;
}

std::optional<std::uint64_t> parse_tokens(QuotaMetric metric, std::string_view text) {
  return counts_bytes(metric) ? config::parse_bytes(text).value : config::parse_count(text).value;
}

std::string format_tokens(QuotaMetric metric, std::uint64_t tokens) {
  return counts_bytes(metric) ? config::format_bytes(tokens) : fmt::format("{}", tokens);
}

std::optional<Nanoseconds> parse_period(std::string_view text) {
  for (const Unit& unit : kUnits) {
    if (unit.name == text) return unit.period;
  }
  return config::parse_duration(text).value;
}

std::string format_period(Nanoseconds period) {
  for (const Unit& unit : kUnits) {
    if (unit.period == period) return std::string(unit.name);
  }
  return config::format_duration(period);
}

// Of the opcodes that clients send; a number for those that have no name.
std::optional<Opcode> find_opcode(std::string_view text) {
  for (std::uint16_t number = 1; number < protocol::kCustomOpcodeMin; ++number) {
    const auto opcode = static_cast<Opcode>(number);
    if (protocol::opcode_name(opcode) == text) return opcode;
  }
  const auto number = config::parse_count(text).value;
  if (!number || *number == 0 || *number > UINT16_MAX) return std::nullopt;
  return static_cast<Opcode>(*number);
}

std::optional<QuotaClass> find_class(std::string_view text) {
  for (std::uint8_t i = 0; i <= static_cast<std::uint8_t>(QuotaClass::application); ++i) {
    if (class_name(static_cast<QuotaClass>(i)) == text) return static_cast<QuotaClass>(i);
  }
  return std::nullopt;
}

std::string problem_of(const Limit& limit) {
  if (limit.rate.period < Rate::kPeriodMin || limit.rate.period > Rate::kPeriodMax) {
    return "has a period that is not 1us to 52 days";
  }
  if (!limit.rate.is_valid()) return "has tokens or a burst that is not 1 to 2^50";
  if (limit.opcode != Opcode::None &&
      protocol::classify(limit.opcode) != protocol::OpcodeClass::request &&
      protocol::classify(limit.opcode) != protocol::OpcodeClass::custom) {
    return "is for an opcode that clients do not send";
  }
  if (!limit.is_inward() && !limit.takes_every_request()) {
    return "is for some requests, but bytes_out and deliveries count what the server sends";
  }
  return {};
}

// Between single blanks: two in a row have an empty word between them, which is refused.
std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  for (;;) {
    const std::size_t blank = text.find(' ');
    words.push_back(text.substr(0, blank));
    if (blank == text.npos) return words;
    text.remove_prefix(blank + 1);
  }
}

class LimitReader {
 public:
  explicit LimitReader(std::string_view text) : words_(words_of(text)) {}

  Parsed<Limit> read() {
    for (const std::string_view word : words_) {
      if (word.empty() && words_.size() > 1) return fail("has a blank too many");
    }
    if (words_.size() < 2) return fail("lacks a metric, or an amount as in 1000/s");
    const auto metric = find_name(words_[0], QuotaMetric::deliveries);
    if (!metric) return fail("does not begin with requests, bytes_in, bytes_out or deliveries");
    limit_.metric = *metric;
    std::string problem = read_amount(words_[1]);
    for (std::size_t at = 2; problem.empty() && at < words_.size();) problem = read_word(at);
    if (problem.empty() && !has_burst_) limit_.rate.burst = limit_.rate.tokens;
    if (problem.empty()) problem = problem_of(limit_);
    if (!problem.empty()) return fail(problem);
    return {.value = limit_, .problem = {}, .suggestion = {}};
  }

 private:
  static Parsed<Limit> fail(std::string problem) {
    return {.value = std::nullopt,
            .problem = std::move(problem),
            .suggestion = "requests 1000/s burst 2000 reject"};
  }

  std::string read_amount(std::string_view word) {
    const std::size_t slash = word.find('/');
    if (slash == word.npos) return "has no period, as in 1000/s";
    const auto tokens = parse_tokens(limit_.metric, word.substr(0, slash));
    if (!tokens) return fmt::format("has the amount \"{}\"", word.substr(0, slash));
    const auto period = parse_period(word.substr(slash + 1));
    if (!period) return "has a period that is not s, min, h, day or a time as 10s";
    limit_.rate.tokens = *tokens;
    limit_.rate.period = *period;
    return {};
  }

  std::string read_word(std::size_t& at) {
    const std::string_view word = words_[at++];
    if (const auto action = find_name(word, QuotaAction::terminate)) {
      limit_.action = *action;
      return {};
    }
    if (word != "burst" && word != "for") return fmt::format("has the word \"{}\"", word);
    if (at == words_.size()) return fmt::format("ends behind \"{}\"", word);
    const std::string_view value = words_[at++];
    if (word == "burst") {
      const auto burst = parse_tokens(limit_.metric, value);
      if (!burst) return fmt::format("has the burst \"{}\"", value);
      limit_.rate.burst = *burst;
      has_burst_ = true;
      return {};
    }
    if (const auto opcode_class = find_class(value)) {
      limit_.opcode_class = *opcode_class;
    } else if (const auto opcode = find_opcode(value)) {
      limit_.opcode = *opcode;
    } else {
      return fmt::format("is for \"{}\", which is no opcode and no class", value);
    }
    return {};
  }

  std::vector<std::string_view> words_;
  Limit limit_;
  bool has_burst_ = false;
};

}  // namespace

std::string_view name_of(QuotaMetric metric) noexcept {
  return protocol::fbs::EnumNameQuotaMetric(metric);
}
std::string_view name_of(QuotaAction action) noexcept {
  return protocol::fbs::EnumNameQuotaAction(action);
}
std::string_view name_of(QuotaScope scope) noexcept {
  return protocol::fbs::EnumNameQuotaScope(scope);
}

Parsed<Limit> parse_limit(std::string_view text) {
  return LimitReader(text).read();
}

std::string format_limit(const Limit& limit) {
  std::string text =
      fmt::format("{} {}/{} burst {} {}", name_of(limit.metric),
                  format_tokens(limit.metric, limit.rate.tokens), format_period(limit.rate.period),
                  format_tokens(limit.metric, limit.rate.burst), name_of(limit.action));
  if (limit.opcode != Opcode::None) {
    const std::string_view name = protocol::opcode_name(limit.opcode);
    text += name.empty() ? fmt::format(" for {}", protocol::number(limit.opcode))
                         : fmt::format(" for {}", name);
  } else if (limit.opcode_class != QuotaClass::every) {
    text += fmt::format(" for {}", class_name(limit.opcode_class));
  }
  return text;
}

protocol::fbs::QuotaLimit to_wire(const Limit& limit) noexcept {
  return protocol::fbs::QuotaLimit(limit.rate.tokens, static_cast<std::uint64_t>(limit.rate.period),
                                   limit.rate.burst, limit.opcode, limit.metric, limit.action,
                                   limit.opcode_class, 0, 0);
}

std::string from_wire(const protocol::fbs::QuotaLimit& wire, Limit& limit) {
  if (wire.metric() > QuotaMetric::deliveries) return "has a metric that this server does not know";
  if (wire.action() > QuotaAction::terminate) return "has an action that this server does not know";
  if (wire.opcode_class() > QuotaClass::application) {
    return "has a class that this server does not know";
  }
  // A period beyond 63 bits must not become a short one.
  const bool is_long = wire.period_ns() > static_cast<std::uint64_t>(Rate::kPeriodMax);
  limit = {.rate = {.tokens = wire.tokens(),
                    .period = is_long ? 0 : static_cast<Nanoseconds>(wire.period_ns()),
                    .burst = wire.burst() == 0 ? wire.tokens() : wire.burst()},
           .metric = wire.metric(),
           .action = wire.action(),
           .opcode = wire.opcode(),
           .opcode_class = wire.opcode_class()};
  return problem_of(limit);
}

}  // namespace corelane::services::quota
