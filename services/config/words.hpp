#pragma once
// The words of a command line as flags, values and arguments. Values and arguments are taken as
// they stand: no brackets, commas, equals signs or quotes mean anything in them.
//
//   --name VALUE   --name=VALUE   -n VALUE   -nVALUE    a flag with a value; the word behind it is
//                                                       its value, whatever it is
//   --name   -n   -ab   --name=false                    flags without
//   -   -5   -- ...                                     arguments: a dash alone, a negative number,
//                                                       and everything behind --
//
// Pure functions.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace corelane::services::config {

struct FlagRule {
  std::string long_name;   // "--name"
  std::string short_name;  // "-n", or empty
  bool takes_value = false;
};

struct Word {
  enum class Kind : std::uint8_t {
    flag,         // `value`: of a flag that takes one, or what stands behind "="
    argument,     // `value` is the word
    unknown,      // begins with a dash and is no flag
    lacks_value,  // the last word is a flag that takes a value
  };
  Kind kind;
  std::size_t flag = 0;   // into the rules
  std::string name = {};  // as written: --name, -n
  std::optional<std::string> value = {};
};

std::vector<Word> read_words(const std::vector<FlagRule>& rules,
                             const std::vector<std::string>& words);

// One line of --help: the names in a column, the text beside it or, where they are long, below.
std::string help_line(std::string_view names, std::string_view text);

}  // namespace corelane::services::config
