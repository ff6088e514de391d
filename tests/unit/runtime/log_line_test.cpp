// Goal: a line of the log is one event in each format, whatever bytes it is made of and however
// long they are. Method: lines with hostile texts, read by Boost.JSON where they are JSON.
#include "runtime/log_line.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "runtime/random.hpp"

namespace corelane::runtime {
namespace {

// 2026-11-30 06:34:44.123456789 UTC.
constexpr std::int64_t kTime = 1'796'020'484'123'456'789;

std::string line_of(LogFormat format, std::string_view message,
                    std::initializer_list<LogField> fields = {}, std::int64_t time = kTime) {
  LogLine line(format, LogLevel::warning, time);
  line.add_message(message);
  for (const LogField& field : fields) line.add_field(field);
  return std::string{line.finished()};
}

// The text without what is the same in all lines.
std::string tail_of(std::string line, std::string_view from) {
  const std::size_t at = line.find(from);
  EXPECT_NE(at, std::string::npos) << line;
  return at == std::string::npos ? line : line.substr(at);
}

TEST(LogLine, HasEachFormat) {
  const std::initializer_list<LogField> fields{
      {"address", "127.0.0.1:5"}, {"path", "/a b"}, LogField::number("bytes", 12), {"empty", ""}};
  EXPECT_EQ(tail_of(line_of(LogFormat::text, "it closed", fields), "warning: "),
            "warning: it closed address=127.0.0.1:5 path=\"/a b\" bytes=12 empty=\"\"\n");
  EXPECT_EQ(tail_of(line_of(LogFormat::logfmt, "it closed", fields), "msg="),
            "msg=\"it closed\" address=127.0.0.1:5 path=\"/a b\" bytes=12 empty=\"\"\n");
  EXPECT_EQ(tail_of(line_of(LogFormat::json, "it closed", fields), "\"msg\""),
            "\"msg\":\"it closed\",\"address\":\"127.0.0.1:5\",\"path\":\"/a b\",\"bytes\":12,"
            "\"empty\":\"\"}\n");
  EXPECT_TRUE(line_of(LogFormat::logfmt, "")
                  .starts_with("time=2026-11-30T06:34:44.123456Z level=warning program=\""));
  EXPECT_TRUE(
      line_of(LogFormat::json, "")
          .starts_with(
              "{\"time\":\"2026-11-30T06:34:44.123456Z\",\"level\":\"warning\",\"program\":\""));
}

TEST(LogLine, TellsTheTimeOfAnyDay) {
  const auto time_of = [](std::int64_t seconds) {
    return line_of(LogFormat::logfmt, "", {}, seconds * 1'000'000'000).substr(5, 20);
  };
  EXPECT_EQ(time_of(0), "1970-01-01T00:00:00.");
  EXPECT_EQ(time_of(951'782'399), "2000-02-28T23:59:59.");
  EXPECT_EQ(time_of(951'782'400), "2000-02-29T00:00:00.");
  EXPECT_EQ(time_of(1'709'164'800), "2024-02-29T00:00:00.");
  EXPECT_EQ(time_of(1'709'251'200), "2024-03-01T00:00:00.");
  EXPECT_EQ(time_of(1'735'689'599), "2024-12-31T23:59:59.");
  EXPECT_EQ(time_of(4'102'444'800), "2100-01-01T00:00:00.");
}

TEST(LogLine, EscapesWhatIsNoTextOfALine) {
  using namespace std::string_view_literals;
  const std::string_view hostile = "a\"b\\c\nd\x1b\x7f\xff\xc3(\xed\xa0\x80\xe2\x82\xac\0z"sv;
  const std::string expected =
      "a\\\"b\\\\c\\nd\\u001b\\u007f\xef\xbf\xbd\xef\xbf\xbd(\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
      "\xe2\x82\xac\\u0000z";
  EXPECT_EQ(tail_of(line_of(LogFormat::json, hostile), "\"msg\""),
            "\"msg\":\"" + expected + "\"}\n");
  EXPECT_EQ(tail_of(line_of(LogFormat::logfmt, "", {{"x", hostile}}), "x="),
            "x=\"" + expected + "\"\n");
}

// No control character is in it, and each quote has its other one.
bool is_whole(std::string_view line) {
  bool is_quoted = false;
  for (std::size_t at = 0; at + 1 < line.size(); ++at) {
    if (static_cast<unsigned char>(line[at]) < 0x20) return false;
    if (line[at] == '\\' && is_quoted) {
      ++at;
    } else if (line[at] == '"') {
      is_quoted = !is_quoted;
    }
  }
  return !is_quoted && line.ends_with('\n');
}

TEST(LogLine, AMessageOfAnyLengthLeavesNoFieldBeyondTheLine) {
  for (std::size_t bytes = 3900; bytes <= 4096; ++bytes) {
    for (const LogFormat format : {LogFormat::text, LogFormat::logfmt, LogFormat::json}) {
      const std::string text(bytes, 'x');
      const std::string line =
          line_of(format, text, {LogField::number("code", 1006), {"next", "1"}, {"last", "2"}});
      ASSERT_LE(line.size(), LineQueue::kLineBytesMax) << bytes;
      ASSERT_TRUE(line.ends_with('\n')) << bytes;
      if (format != LogFormat::text) {
        ASSERT_TRUE(is_whole(line)) << bytes;
      }
    }
  }
}
TEST(LogLine, IsCutWithItsEndInPlace) {
  for (const std::size_t bytes : {std::size_t{3900}, std::size_t{4096}, std::size_t{10'000}}) {
    for (const char c : {'x', '"', '\x01', '\xff'}) {
      const std::string text(bytes, c);
      for (const LogFormat format : {LogFormat::text, LogFormat::logfmt, LogFormat::json}) {
        for (const bool in_field : {false, true}) {
          const std::string line = in_field ? line_of(format, "m", {{"field", text}, {"next", "1"}})
                                            : line_of(format, text, {{"next", "1"}});
          ASSERT_LE(line.size(), LineQueue::kLineBytesMax);
          ASSERT_EQ(std::ranges::count(line, '\n'), 1);
          ASSERT_TRUE(line.ends_with('\n'));
          if (format != LogFormat::text) {
            ASSERT_TRUE(is_whole(line)) << line;
          }
          if (line.find("next") != std::string::npos) continue;  // all of it fits
          const std::string_view end = format == LogFormat::text     ? " [cut]\n"
                                       : format == LogFormat::logfmt ? " cut=true\n"
                                                                     : ",\"cut\":true}\n";
          EXPECT_TRUE(line.ends_with(end)) << line.substr(line.size() - 40);
        }
      }
    }
  }
}

TEST(LogLine, OfRandomBytesIsWhole) {
  Random random(7);
  for (int i = 0; i < 2000; ++i) {
    std::string text(random.below(40), ' ');
    for (char& c : text) c = static_cast<char>(random.below(256));
    for (const LogFormat format : {LogFormat::logfmt, LogFormat::json}) {
      const std::string line = line_of(format, text, {{"field", text}});
      ASSERT_TRUE(is_whole(line)) << line;
    }
  }
}

}  // namespace
}  // namespace corelane::runtime
