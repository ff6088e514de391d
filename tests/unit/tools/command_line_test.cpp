// Goal: flags are found as people write them, and every value and argument arrives as it was typed,
// whatever is in it. Method: a command line with one flag of each kind; tables of words, and texts
// that some parser takes for its own notation at each place where a text can stand.

#include "tools/command_line.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "tests/support/hostile_texts.hpp"

namespace corelane::tools {
namespace {

using Words = std::vector<std::string>;

struct Taken {
  bool json = false;
  bool ack = false;
  std::string url;
  std::uint64_t count = 7;
  std::string channel;
  Words rest;
  CommandLine::Outcome outcome;
};

Taken take(const Words& words) {
  Taken taken;
  CommandLine line("corelane test", "Tests.");
  line.add_flag("-j,--json", taken.json, "json");
  line.add_flag("-a,--ack", taken.ack, "ack");
  line.add_text("-u,--url", "URL", taken.url, "url");
  line.add_count("-n,--count", "N", taken.count, {1, 100}, "count");
  line.add_argument("CHANNEL", taken.channel, "channel");
  line.add_arguments("DATA", taken.rest, "data");
  taken.outcome = line.parse(words);
  return taken;
}

TEST(CommandLine, finds_flags_in_every_spelling) {
  const Words spellings[] = {
      {"-j", "-a", "-u", "x", "-n", "5", "c", "d"},
      {"--json", "--ack", "--url", "x", "--count", "5", "c", "d"},
      {"c", "--url=x", "d", "--count=5", "--json=true", "--ack=yes"},
      {"-jaux", "-n5", "c", "d"},
      {"c", "d", "-jan5", "-ux"},
      {"--url=a", "--url=x", "-n1", "-n", "5", "-ja", "--", "c", "d"},
  };
  for (const Words& words : spellings) {
    const Taken taken = take(words);
    EXPECT_EQ(taken.outcome.problem, "") << words.front();
    EXPECT_TRUE(taken.json && taken.ack);
    EXPECT_EQ(taken.url, "x");
    EXPECT_EQ(taken.count, 5u);
    EXPECT_EQ(taken.channel, "c");
    EXPECT_EQ(taken.rest, Words{"d"});
  }
  EXPECT_FALSE(take({"--json=false", "c", "d"}).json);
  EXPECT_TRUE(take({"-h"}).outcome.wants_help);
  EXPECT_TRUE(take({"c", "d", "--help"}).outcome.wants_help);
}

TEST(CommandLine, takes_texts_as_they_stand) {
  for (const std::string& text : tests::hostile_texts()) {
    for (const Words& words : {Words{"--url", text, "c", "d"}, Words{"--url=" + text, "c", "d"},
                               Words{"-u", text, "c", "d"}}) {
      const Taken taken = take(words);
      EXPECT_EQ(taken.outcome.problem, "") << text;
      EXPECT_EQ(taken.url, text);
    }
    const Taken taken = take({"--", text, text, "x", text});
    EXPECT_EQ(taken.outcome.problem, "") << text;
    EXPECT_EQ(taken.channel, text);
    EXPECT_EQ(taken.rest, (Words{text, "x", text}));
    const bool is_flag = text.size() > 1 && text.front() == '-' && text[1] != '5' && text[1] != '.';
    if (is_flag) continue;
    const Taken plain = take({text, "-j", text});
    EXPECT_EQ(plain.outcome.problem, "") << text;
    EXPECT_EQ(plain.channel, text);
    EXPECT_EQ(plain.rest, Words{text});
    EXPECT_TRUE(plain.json);
  }
}

TEST(CommandLine, says_what_is_wrong_and_what_to_write) {
  const std::pair<Words, std::string_view> rows[] = {
      {{}, "CHANNEL is missing"},
      {{"c"}, "DATA is missing"},
      {{"c", "-x"}, "-x is no flag; in front of a name or data that begins with a dash, write --"},
      {{"c", "-jx"}, "-jx is no flag"},
      {{"c", "d", "--jsn"}, "did you mean --json?"},
      {{"c", "d", "--jsn=true"}, "did you mean --json?"},
      {{"c", "d", "--url"}, "--url has no value"},
      {{"c", "d", "-u"}, "-u has no value"},
      {{"c", "d", "--json=maybe"}, "write true or false"},
      {{"c", "d", "-n", "0"}, "1 to 100"},
      {{"c", "d", "-n", "-1"}, "1 to 100"},
      {{"c", "d", "-n", "5x"}, "1 to 100"},
      {{"c", "d", "-n", ""}, "1 to 100"},
      {{"c", "d", "--count=101"}, "1 to 100"},
  };
  for (const auto& [words, problem] : rows) {
    const Taken taken = take(words);
    EXPECT_NE(taken.outcome.problem.find(problem), std::string::npos) << taken.outcome.problem;
  }
  std::string channel;
  CommandLine line("corelane test", "Tests.");
  line.add_argument("CHANNEL", channel, "channel");
  EXPECT_NE(line.parse({"a", "b c"}).problem.find("\"b c\" is one argument too many"),
            std::string::npos);
}

TEST(CommandLine, tells_an_empty_text_from_none) {
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{}, {"--time", ""}, {"--time="}, {"--time=5s"}}) {
    std::optional<std::string> time;
    CommandLine line("corelane test", "Tests.");
    line.add_text("-t,--time", "TIME", time, "how long");
    EXPECT_EQ(line.parse(words).problem, "");
    EXPECT_EQ(time.has_value(), !words.empty());
    EXPECT_EQ(time.value_or(""), words == std::vector<std::string>{"--time=5s"} ? "5s" : "");
  }
}

TEST(CommandLine, helps_with_every_flag_and_argument) {
  std::string text;
  CommandLine line("corelane test", "Tests.");
  line.add_text("-u,--url", "URL", text, "the url");
  line.add_argument("CHANNEL", text, "the channel");
  line.add_footer("The end.");
  const std::string help = line.help();
  for (const char* part : {"Tests.", "corelane test CHANNEL [FLAGS]", "-u,--url URL", "the url",
                           "the channel", "-h,--help", "The end.\n"}) {
    EXPECT_NE(help.find(part), std::string::npos) << part << " is not in\n" << help;
  }
}

}  // namespace
}  // namespace corelane::tools
