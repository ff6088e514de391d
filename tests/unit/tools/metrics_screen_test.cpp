// Goal: the screens of `metrics` and `top` fit into 80 columns whatever the figures are, and
// nothing that a server or its clients have named commands the terminal. Method: replies made by
// hand.
#include "tools/metrics_screen.hpp"

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <cstdint>
#include <string>
#include <vector>

namespace corelane {
namespace {

using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;
namespace fbs = protocol::fbs;

// Two cores, of which the second is down; all figures are `figure`, all names `name`.
class Replies {
 public:
  Replies(std::uint64_t figure, const std::string& name) {
    const auto small = static_cast<std::uint32_t>(figure);
    const fbs::Latency latency(figure, figure, figure, figure, figure, figure);
    std::vector<Offset<fbs::CoreFigures>> cores;
    cores.push_back(fbs::CreateCoreFigures(node_, 0, true, figure, figure, &latency, small, small,
                                           small, small, small, small, small, false, figure,
                                           figure));
    cores.push_back(fbs::CreateCoreFigures(node_, 1));
    std::vector<Offset<fbs::OpcodeFigures>> opcodes;
    for (int i = 0; i < 20; ++i) {
      opcodes.push_back(fbs::CreateOpcodeFigures(
          node_, protocol::Opcode::Ping, node_.CreateString(name), figure, figure, figure, figure,
          &latency, i % 2 == 0 ? &latency : nullptr));
    }
    const std::vector<std::uint64_t> values{figure, 1};
    std::vector<Offset<fbs::Figure>> figures{fbs::CreateFigure(node_, node_.CreateString(name),
                                                               node_.CreateString("kind=\"x\""),
                                                               node_.CreateVector(values))};
    node_.Finish(fbs::CreateNodeMetricsReply(
        node_, node_.CreateString(name), node_.CreateString(name), figure, figure,
        node_.CreateVector(cores), node_.CreateVector(opcodes), node_.CreateVector(figures)));
    std::vector<fbs::SeriesPoint> points(
        70, fbs::SeriesPoint(figure, figure, figure, figure, figure, figure, figure, small, small,
                             small, small, small, small, small, small));
    std::vector<Offset<fbs::CoreSeries>> series{
        fbs::CreateCoreSeries(dashboard_, 0, true, dashboard_.CreateVectorOfStructs(points)),
        fbs::CreateCoreSeries(dashboard_, 1, false,
                              dashboard_.CreateVectorOfStructs(std::vector<fbs::SeriesPoint>{}))};
    std::vector<Offset<fbs::BusyName>> busiest{fbs::CreateBusyName(
        dashboard_, dashboard_.CreateString(name), dashboard_.CreateString(name), figure)};
    dashboard_.Finish(fbs::CreateDashboardMetricsReply(dashboard_, dashboard_.CreateString(name),
                                                       dashboard_.CreateVector(series),
                                                       dashboard_.CreateVector(busiest)));
  }
  const fbs::NodeMetricsReply& node() const {
    return *flatbuffers::GetRoot<fbs::NodeMetricsReply>(node_.GetBufferPointer());
  }
  const fbs::DashboardMetricsReply& dashboard() const {
    return *flatbuffers::GetRoot<fbs::DashboardMetricsReply>(dashboard_.GetBufferPointer());
  }

 private:
  FlatBufferBuilder node_;
  FlatBufferBuilder dashboard_;
};

constexpr std::uint64_t kFigures[] = {
    0, 1, 999, 1000, 999'949, 999'950, 4'294'967'295, 123'456'789'012'345, UINT64_MAX};

TEST(MetricsScreen, OfTopHasAtMostEightyColumns) {
  for (const std::uint64_t figure : kFigures) {
    const Replies replies(figure, "a name that is far longer than any column of it may ever be");
    const std::string screen = tools::text_top(replies.node(), replies.dashboard());
    std::size_t columns = 0;
    for (const char c : screen) {
      if (c == '\n') columns = 0;
      if (c != '\n' && (c & 0xc0) != 0x80) ++columns;
      ASSERT_LE(columns, tools::kScreenColumns) << figure << "\n" << screen;
    }
    EXPECT_NE(screen.find("\n1     does not answer\n"), std::string::npos) << screen;
  }
}

TEST(MetricsScreen, ShowsNothingThatCommandsTheTerminal) {
  const Replies replies(7, "\x1b[2J\n\xff\xc2\x9b");
  for (const std::string& text : {tools::text_metrics(replies.node()),
                                  tools::text_top(replies.node(), replies.dashboard())}) {
    EXPECT_EQ(text.find('\x1b'), std::string::npos);
    EXPECT_EQ(text.find('\xff'), std::string::npos);
    EXPECT_NE(text.find("\\x1b[2J"), std::string::npos) << text;
  }
}

TEST(MetricsScreen, OfFiguresHasSumsOfAllCores) {
  const Replies replies(41, "things");
  const std::string text = tools::text_metrics(replies.node());
  EXPECT_NE(text.find("\nthings{kind=\"x\"} 42\n"), std::string::npos) << text;
}

TEST(MetricsScreen, IsJsonWhateverTheNames) {
  for (const std::string& name : {std::string{"things"}, std::string{"\x1b\n\xff\"\\"}}) {
    const Replies replies(7, name);
    const auto node = boost::json::parse(tools::json_metrics(replies.node())).as_object();
    EXPECT_EQ(node.at("cores").as_array().size(), 2u);
    EXPECT_EQ(node.at("figures").as_array()[0].at("values").as_array()[0].as_int64(), 7);
    const auto top =
        boost::json::parse(tools::json_top(replies.node(), replies.dashboard())).as_object();
    EXPECT_EQ(top.at("series").as_array()[0].at("points").as_array().size(), 70u);
  }
}

TEST(MetricsScreen, ShortensCountsAndTimes) {
  using tools::short_count;
  using tools::short_time;
  EXPECT_EQ(short_count(0), "0");
  EXPECT_EQ(short_count(999), "999");
  EXPECT_EQ(short_count(1000), "1.0k");
  EXPECT_EQ(short_count(9949), "9.9k");
  EXPECT_EQ(short_count(9950), "10k");
  EXPECT_EQ(short_count(999'499), "999k");
  EXPECT_EQ(short_count(999'500), "1.0M");
  EXPECT_EQ(short_count(UINT64_MAX), "18E");
  EXPECT_EQ(short_time(999), "999ns");
  EXPECT_EQ(short_time(1500), "1.5us");
  EXPECT_EQ(short_time(34'000'000), "34ms");
  EXPECT_EQ(short_time(5'000'000'000), "5.0s");
  EXPECT_EQ(short_time(5'000'000'000'000), "5000s");
}

}  // namespace
}  // namespace corelane
