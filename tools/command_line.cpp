#include "tools/command_line.hpp"

#include <fmt/format.h>

#include <utility>

#include "services/config/value.hpp"

namespace corelane::tools {

using services::config::help_line;
using services::config::nearest_name;
using services::config::parse_boolean;
using services::config::parse_count;
using services::config::read_words;

CommandLine::CommandLine(std::string command, std::string description)
    : command_(std::move(command)), description_(std::move(description)) {
  add("-h,--help", "", "print this text and exit");
}

CommandLine::Flag& CommandLine::add(std::string_view names, std::string_view value,
                                    std::string help) {
  const std::size_t comma = names.find(',');
  FlagRule rule;
  rule.long_name = names.substr(comma == names.npos ? 0 : comma + 1);
  if (comma != names.npos) rule.short_name = names.substr(0, comma);
  rule.takes_value = !value.empty();
  rules_.push_back(std::move(rule));
  flags_.push_back({.names = fmt::format("{}{}{}", names, value.empty() ? "" : " ", value),
                    .help = std::move(help)});
  return flags_.back();
}

void CommandLine::add_flag(std::string_view names, bool& into, std::string help) {
  add(names, "", std::move(help)).on = &into;
}

void CommandLine::add_text(std::string_view names, std::string_view value, std::string& into,
                           std::string help) {
  add(names, value, std::move(help)).text = &into;
}

void CommandLine::add_text(std::string_view names, std::string_view value,
                           std::optional<std::string>& into, std::string help) {
  add(names, value, std::move(help)).optional_text = &into;
}

void CommandLine::add_count(std::string_view names, std::string_view value, std::uint64_t& into,
                            Range range, std::string help) {
  Flag& flag = add(names, value, std::move(help));
  flag.count = &into;
  flag.range = range;
}

void CommandLine::add_argument(std::string name, std::string& into, std::string help) {
  arguments_.push_back({.name = std::move(name), .help = std::move(help), .text = &into});
}

void CommandLine::add_arguments(std::string name, std::vector<std::string>& into,
                                std::string help) {
  arguments_.push_back({.name = std::move(name), .help = std::move(help), .texts = &into});
}

CommandLine::Outcome CommandLine::parse(const std::vector<std::string>& words) {
  Outcome outcome;
  std::vector<std::string> arguments;
  const auto note = [&](std::string problem) {
    if (outcome.problem.empty()) outcome.problem = std::move(problem);
  };
  for (const Word& word : read_words(rules_, words)) {
    switch (word.kind) {
      case Word::Kind::flag:
        if (word.flag == 0) {
          outcome.wants_help = true;
        } else {
          note(take_flag(word));
        }
        break;
      case Word::Kind::argument:
        arguments.push_back(*word.value);
        break;
      case Word::Kind::unknown:
        note(unknown(word));
        break;
      case Word::Kind::lacks_value:
        note(fmt::format("{} has no value: write it behind it", word.name));
        break;
    }
  }
  note(take_arguments(arguments));
  return outcome;
}

std::string CommandLine::take_flag(const Word& word) {
  const Flag& flag = flags_[word.flag];
  if (flag.text != nullptr) {
    *flag.text = *word.value;
    return {};
  }
  if (flag.optional_text != nullptr) {
    *flag.optional_text = *word.value;
    return {};
  }
  if (flag.count != nullptr) {
    const auto count = parse_count(*word.value);
    const Range& range = flag.range;
    if (!count.value || *count.value < range.min || *count.value > range.max) {
      const std::string allowed = range.max == UINT64_MAX
                                      ? fmt::format("{} or more", range.min)
                                      : fmt::format("{} to {}", range.min, range.max);
      return fmt::format("{} {}: a whole number is needed, {}", word.name, *word.value, allowed);
    }
    *flag.count = *count.value;
    return {};
  }
  if (!word.value) {
    *flag.on = true;
    return {};
  }
  const auto on = parse_boolean(*word.value);
  if (!on.value) return fmt::format("{}={}: write true or false", word.name, *word.value);
  *flag.on = *on.value;
  return {};
}

std::string CommandLine::take_arguments(const std::vector<std::string>& arguments) {
  std::size_t at = 0;
  for (const Argument& argument : arguments_) {
    if (at == arguments.size()) return fmt::format("{} is missing", argument.name);
    if (argument.text != nullptr) {
      *argument.text = arguments[at++];
    } else {
      argument.texts->assign(arguments.begin() + static_cast<std::ptrdiff_t>(at), arguments.end());
      at = arguments.size();
    }
  }
  if (at == arguments.size()) return {};
  return fmt::format("\"{}\" is one argument too many; data with blanks needs quotes",
                     arguments[at]);
}

std::string CommandLine::unknown(const Word& word) const {
  std::vector<std::string> known;
  known.reserve(rules_.size());
  for (const FlagRule& rule : rules_) known.push_back(rule.long_name);
  std::string text = fmt::format("{} is no flag", word.name);
  const std::string_view nearest =
      word.name.starts_with("--") ? nearest_name(word.name, known) : std::string_view{};
  if (!nearest.empty()) text += fmt::format("; did you mean {}?", nearest);
  if (!arguments_.empty()) {
    text += "; in front of a name or data that begins with a dash, write --";
  }
  return text;
}

std::string CommandLine::help() const {
  std::string usage = command_;
  for (const Argument& argument : arguments_) {
    usage += fmt::format(" {}{}", argument.name, argument.texts != nullptr ? "..." : "");
  }
  std::string text = fmt::format("{}\n\nUsage: {} [FLAGS]\n", description_, usage);
  if (!arguments_.empty())
    text += "\nArguments, taken as they stand (behind -- if one begins with a dash):\n";
  for (const Argument& argument : arguments_) text += help_line(argument.name, argument.help);
  text += "\nFlags:\n";
  for (const Flag& flag : flags_) text += help_line(flag.names, flag.help);
  if (!footer_.empty()) text += fmt::format("\n{}\n", footer_);
  return text;
}

}  // namespace corelane::tools
