#pragma once
// What a client command takes: its flags, its arguments, and --help made of them. Texts are taken
// as they stand (services/config/words.hpp). What is added is written to by parse() and outlives
// it.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "services/config/words.hpp"

namespace corelane::tools {

using services::config::FlagRule;
using services::config::Word;

class CommandLine {
 public:
  // `command` as the user types it: "corelane pub".
  CommandLine(std::string command, std::string description);

  // `names`: "--long" or "-s,--long". `value`: what --help calls the value.
  void add_flag(std::string_view names, bool& into, std::string help);
  void add_text(std::string_view names, std::string_view value, std::string& into,
                std::string help);
  // One without a default: nothing if the flag is not given, which an empty text is not.
  void add_text(std::string_view names, std::string_view value, std::optional<std::string>& into,
                std::string help);
  struct Range {
    std::uint64_t min;
    std::uint64_t max;
  };
  void add_count(std::string_view names, std::string_view value, std::uint64_t& into, Range range,
                 std::string help);
  // Arguments, in their order; all are needed. The last may be one of several words.
  void add_argument(std::string name, std::string& into, std::string help);
  void add_arguments(std::string name, std::vector<std::string>& into, std::string help);
  void add_footer(std::string text) { footer_ = std::move(text); }

  struct Outcome {
    bool wants_help = false;
    std::string problem;  // and what to write; empty if all is well
  };
  Outcome parse(const std::vector<std::string>& words);
  std::string help() const;

 private:
  struct Flag {
    std::string names;  // with what --help calls the value
    std::string help;
    bool* on = nullptr;  // one of these four; none for --help
    std::string* text = nullptr;
    std::optional<std::string>* optional_text = nullptr;
    std::uint64_t* count = nullptr;
    Range range{};
  };
  struct Argument {
    std::string name;
    std::string help;
    std::string* text = nullptr;  // one of the two
    std::vector<std::string>* texts = nullptr;
  };

  Flag& add(std::string_view names, std::string_view value, std::string help);
  std::string take_flag(const Word& word);
  std::string take_arguments(const std::vector<std::string>& arguments);
  std::string unknown(const Word& word) const;

  std::string command_;
  std::string description_;
  std::string footer_;
  std::vector<FlagRule> rules_;
  std::vector<Flag> flags_;  // as many
  std::vector<Argument> arguments_;
};

}  // namespace corelane::tools
