// Goal: a name is taken as it was given, by each of the three sources alike, and what
// --print-config prints reads back the same. Method: every setting that is a text or a list, with
// texts that some parser takes for its own notation, fixed ones and random ones from a printed
// seed.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "services/config/setting.hpp"
#include "services/config/value.hpp"
#include "tests/support/hostile_texts.hpp"
#include "tests/unit/services/config/inputs.hpp"

namespace corelane::services::config {
namespace {

using tests::errors_of;
using tests::load;
using tests::load_file;
using tests::table;

Texts value_in(const Setting& setting, const Configuration& config) {
  const Value& value = config.of(setting);
  if (setting.kind == SettingKind::text) return {std::get<std::string>(value)};
  return std::get<Texts>(value);
}

struct Source {
  const char* name;
  ConfigResult result;
};

// `written` in a variable and in both spellings of a flag.
std::vector<Source> by_text(const Setting& setting, const std::string& written) {
  std::vector<Source> sources;
  sources.push_back({"variable", load({{}, {{setting_variable(setting), written}}, {}})});
  sources.push_back({"flag", load({{setting_flag(setting), written}, {}, {}})});
  sources.push_back({"flag with =", load({{setting_flag(setting) + "=" + written}, {}, {}})});
  if (!setting.alias.empty()) {
    sources.push_back({"short flag", load({{setting_alias(setting), written}, {}, {}})});
  }
  return sources;
}

std::string array_of(const Texts& texts) {
  Texts quoted;
  for (const std::string& text : texts) quoted.push_back(quote_toml(text));
  return fmt::format("[{}]", fmt::join(quoted, ", "));
}

void expect_reads_back(const ConfigResult& result, const std::string& text) {
  const ConfigResult again = load_file(print_config(result));
  EXPECT_EQ(errors_of(again), "") << text;
  EXPECT_EQ(again.config, result.config) << text;
}

void expect_as_given(const Setting& setting, const Source& source, const Texts& texts) {
  const std::string shown = fmt::format("{} by {}: {}", setting.key, source.name, array_of(texts));
  if (!source.result.ok()) {
    // Not for the text, which the check takes: two listeners of one address, for instance.
    EXPECT_EQ(source.result.errors.front().where, "configuration") << shown << "\n"
                                                                   << errors_of(source.result);
    return;
  }
  EXPECT_EQ(value_in(setting, source.result.config), texts) << shown;
  expect_reads_back(source.result, shown);
}

// Addresses are the texts that take most names.
Texts candidates_of(const Setting& setting, const std::string& text) {
  if (!setting.key.ends_with("listen")) return {text, std::string(setting.example) + text};
  return {text, "unix:" + text, "unix:@" + text, "unix:/tmp/" + text};
}

void expect_alike_everywhere(const Setting& setting, const std::string& text) {
  const bool is_list = setting.kind == SettingKind::list;
  const bool is_good = setting.check(text).empty();
  const std::string in_file = fmt::format("[{}]\n{} = {}\n", setting.section, setting.key,
                                          is_list ? array_of({text}) : quote_toml(text));
  std::vector<Source> sources;
  sources.push_back({"file", load_file(in_file)});
  if (is_list) {
    for (Source& source : by_text(setting, array_of({text}))) sources.push_back(std::move(source));
  }
  // Without a comma, and without blanks to trim, there is one reading.
  const bool has_ends = text.starts_with(' ') || text.ends_with(' ');
  const bool is_plain = !is_list || (text.find(',') == text.npos && !is_array(text) &&
                                     !text.empty() && (is_good || !has_ends));
  if (is_plain) {
    for (Source& source : by_text(setting, text)) sources.push_back(std::move(source));
  }
  for (const Source& source : sources) {
    if (is_good) {
      expect_as_given(setting, source, {text});
    } else {
      EXPECT_FALSE(source.result.ok()) << setting.key << " by " << source.name << ": " << text;
    }
  }
}

void for_each_name(const std::function<void(const Setting&)>& visit) {
  for (const Setting& setting : table().settings()) {
    if (setting.kind == SettingKind::text || setting.kind == SettingKind::list) visit(setting);
  }
}

TEST(ConfigNames, AreTakenAsGivenByAllSources) {
  for_each_name([](const Setting& setting) {
    for (const std::string& text : tests::hostile_texts()) {
      for (const std::string& name : candidates_of(setting, text)) {
        expect_alike_everywhere(setting, name);
      }
    }
  });
}

TEST(ConfigNames, OfRandomLettersAreTakenAsGivenByAllSources) {
  constexpr std::uint64_t kSeed = 8;
  SCOPED_TRACE(fmt::format("seed {}", kSeed));
  runtime::Random random(kSeed);
  for_each_name([&random](const Setting& setting) {
    for (int i = 0; i < 50; ++i) {
      for (const std::string& name : candidates_of(setting, tests::hostile_text(random, 12))) {
        expect_alike_everywhere(setting, name);
      }
    }
  });
}

TEST(ConfigNames, OfListsAreTakenAsGivenAsAnArray) {
  constexpr std::uint64_t kSeed = 9;
  SCOPED_TRACE(fmt::format("seed {}", kSeed));
  runtime::Random random(kSeed);
  for_each_name([&random](const Setting& setting) {
    if (setting.kind != SettingKind::list) return;
    for (int i = 0; i < 100; ++i) {
      Texts texts;
      while (texts.size() < 3) {
        for (std::string& name : candidates_of(setting, tests::hostile_text(random, 8))) {
          if (setting.check(name).empty()) texts.push_back(std::move(name));
        }
        if (texts.empty()) texts.emplace_back(setting.example);
      }
      for (const Source& source : by_text(setting, array_of(texts))) {
        expect_as_given(setting, source, texts);
      }
      // Each mention of a flag adds to the list.
      std::vector<std::string> words;
      for (const std::string& text : texts) {
        words.insert(words.end(), {setting_flag(setting), array_of({text})});
      }
      expect_as_given(setting, {"repeated flag", load({words, {}, {}})}, texts);
    }
  });
}

TEST(ConfigNames, WithCommasNeedNoArrayWhereNothingBehindACommaIsAnElement) {
  const std::pair<std::string, Texts> rows[] = {
      {"unix:/tmp/a,b", {"unix:/tmp/a,b"}},
      {"unix:@x,y", {"unix:@x,y"}},
      {"unix:/tmp/a,,b,", {"unix:/tmp/a,,b,"}},
      {" unix:/tmp/a", {"unix:/tmp/a"}},
      {"unix:/tmp/a ", {"unix:/tmp/a "}},
      {"127.0.0.1:1,127.0.0.1:2", {"127.0.0.1:1", "127.0.0.1:2"}},
      {" 127.0.0.1:1 , [::1]:2 ,", {"127.0.0.1:1", "[::1]:2"}},
      {"unix:/tmp/a,127.0.0.1:2", {"unix:/tmp/a", "127.0.0.1:2"}},
      {"unix:/tmp/a,b,unix:@x,y", {"unix:/tmp/a,b", "unix:@x,y"}},
      {"[::1]:1,unix:/tmp/a", {"[::1]:1", "unix:/tmp/a"}},
      {"[\"unix:/tmp/a,unix:/tmp/b\"]", {"unix:/tmp/a,unix:/tmp/b"}},
      {"[ 'unix:/tmp/a', \"127.0.0.1:1\" ]", {"unix:/tmp/a", "127.0.0.1:1"}},
  };
  for (const auto& [text, addresses] : rows) {
    const ConfigResult by_variable = load({{}, {{"CORELANE_SERVER_LISTEN", text}}, {}});
    EXPECT_EQ(errors_of(by_variable), "") << text;
    EXPECT_EQ(by_variable.config.list("server.listen"), addresses) << text;
    EXPECT_EQ(load({{"--listen", text}, {}, {}}).config, by_variable.config) << text;
  }
}

TEST(ConfigNames, ThatAreInvalidAreShownAsTheyWereGiven) {
  const std::pair<std::string, std::string_view> rows[] = {
      {"127.0.0.1:1,nonsense", "\"nonsense\" is no address"},
      {"127.0.0.1:1,localhost:2", "\"localhost:2\" is a name"},
      {"[\"a\"", "is no array of texts"},
      {"[\"127.0.0.1:1\"]\nx = [\"\"]", "is no array of texts"},
      {"[1]", "\"[1]\" is no address"},
      {"unix:/\xff", "is not UTF-8"},
      {"[fe80::1%no-such-if]:1", "ip link"},
      {"[fe80::1]:1", "needs its interface"},
      {"[::ffff:127.0.0.1]:1", "write 127.0.0.1:1"},
  };
  for (const auto& [text, problem] : rows) {
    const std::string error = tests::one_error(load({{"--listen", text}, {}, {}}));
    EXPECT_NE(error.find(problem), error.npos) << error;
  }
  const std::string error = tests::one_error(load({{"--node-name", "[x]"}, {}, {}}));
  EXPECT_NE(error.find("--node-name [x]: is no node name"), error.npos) << error;
}

TEST(ConfigNames, OfOneAddressInTwoSpellingsAreOneListener) {
  for (const tests::Arguments& words :
       {tests::Arguments{"--listen", "[::1]:5", "--listen", "[0::1]:5"},
        tests::Arguments{"--listen", "unix:/a:0", "--listen", "UNIX:/a:0"},
        tests::Arguments{"--listen", "127.0.0.1:5", "--tcp-listen", "127.0.0.1:05"}}) {
    const std::string error = tests::one_error(load({words, {}, {}}));
    EXPECT_NE(error.find("is listened on twice"), error.npos) << error;
  }
}

TEST(ConfigNames, OfTheFileAreTakenAsGiven) {
  for (const std::string& path : tests::hostile_texts()) {
    for (const tests::Arguments& words :
         {tests::Arguments{"--config", path}, tests::Arguments{"--config=" + path},
          tests::Arguments{"-c", path}}) {
      const ConfigResult result = load({words, {}, {{path, "[server]\ncores = 3\n"}}});
      EXPECT_EQ(errors_of(result), "") << path;
      EXPECT_EQ(result.config.number("server.cores"), 3u) << path;
      expect_reads_back(result, path);
    }
    EXPECT_EQ(load({{}, {{"CORELANE_CONFIG", path}}, {{path, "[server]\ncores = 3\n"}}})
                  .config.number("server.cores"),
              3u);
  }
  // Not even UTF-8: the comments of --print-config are.
  const std::string path = "/etc/\xff\x7f.toml";
  expect_reads_back(load({{"-c", path}, {}, {{path, "[server]\ncores = 3\n"}}}), path);
}

TEST(ConfigNames, OfFlagsTakeNoValueWhereThereIsNone) {
  for (const char* word : {"--help=1", "--print-config=true", "--check-config=no", "--no-pin=1"}) {
    const ConfigResult result = load({{word}, {}, {}});
    EXPECT_EQ(result.errors.size(), 1u) << word;
  }
  EXPECT_EQ(load({{"--help", "--print-config"}, {}, {}}).action, ConfigAction::help);
}

}  // namespace
}  // namespace corelane::services::config
