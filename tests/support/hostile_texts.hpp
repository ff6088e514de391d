#pragma once
// Texts that one or another parser of command lines, lists, TOML or variables takes for its own
// notation. All are valid UTF-8 without control characters.

#include <string>
#include <vector>

#include "runtime/random.hpp"

namespace corelane::tests {

inline const std::vector<std::string>& hostile_texts() {
  static const std::vector<std::string> kTexts{
      "a,b",
      "[a,b]",
      "[a]",
      "[]",
      "{}",
      "{a}",
      "(a)",
      "@name",
      "@",
      "-x",
      "--",
      "---",
      "-",
      "-5",
      "--url",
      "--url=x",
      "-.5",
      "a=b",
      "=",
      "=a",
      "a b",
      " a",
      "a ",
      ",",
      ",a",
      "a,",
      "a,,b",
      "\"a\"",
      "'a'",
      "\"",
      "'",
      "\\",
      "a\\",
      "\\n",
      "\\u0041",
      "a\"b\\c",
      "#a",
      "a # b",
      "$HOME",
      "${HOME}",
      "`a`",
      "%25",
      "%",
      "%%",
      "++",
      "+",
      "!",
      "!a",
      "/a",
      "~",
      "*",
      "?",
      "true",
      "false",
      "null",
      "0x10",
      "1e3",
      "inf",
      "nan",
      "[\"a\"]",
      "[\"a\",]",
      "['a']",
      "[[a]]",
      "a]",
      "[a",
      "]",
      "[",
      "\"\"\"",
      "'''",
      ";",
      "&",
      "|",
      "<a>",
      "b\xc3\xbc"
      "cher",
      "\xf0\x9f\x98\x80",
      "\xe2\x80\xa8",
      "1979-05-27",
      "a.b",
      "a:b",
      "unix:@x",
      "127.0.0.1:1,127.0.0.1:2",
  };
  return kTexts;
}

// Of the characters that those are made of; the same from the same generator.
inline std::string hostile_text(runtime::Random& random, std::size_t bytes_max) {
  constexpr std::string_view kLetters = "ab,[]\"'\\=-@ #{}$%/.:;0x~!+&?*()<>|^`_";
  std::string text;
  const std::size_t bytes = random.below(bytes_max + 1);
  for (std::size_t i = 0; i < bytes; ++i) text += kLetters[random.below(kLetters.size())];
  return text;
}

}  // namespace corelane::tests
