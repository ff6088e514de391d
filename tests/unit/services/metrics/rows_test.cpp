// Goal: rows of metrics that Prometheus would not take end the start, and the server's own are
// right. Method: tables of rows, and the plan of a node.
#include "services/metrics/rows.hpp"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>

#include "services/metrics/heartbeats.hpp"
#include "services/node/services.hpp"

namespace corelane {
namespace {

using services::MetricReader;
using services::MetricRow;
using services::MetricSample;
using services::MetricTable;
using services::MetricType;

constexpr auto kRead = [](MetricReader& to) { to.add(1); };

std::string problem_of(const MetricRow& row) {
  MetricTable table;
  try {
    table.add({&row, 1});
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return {};
}

TEST(MetricRows, AgainstTheRulesOfPrometheusEndTheStart) {
  const MetricRow good{
      .name = "cache_hits_total", .type = MetricType::counter, .help = "Hits.", .read = kRead};
  EXPECT_EQ(problem_of(good), "");
  const auto with = [&](auto change) {
    MetricRow row = good;
    change(row);
    return problem_of(row);
  };
  EXPECT_NE(with([](MetricRow& row) { row.name = "cache_hits"; }), "");
  EXPECT_NE(with([](MetricRow& row) { row.type = MetricType::gauge; }), "");
  EXPECT_NE(with([](MetricRow& row) { row.name = "Cache_total"; }), "");
  EXPECT_NE(with([](MetricRow& row) { row.name = "cache-hits_total"; }), "");
  EXPECT_NE(with([](MetricRow& row) { row.name = ""; }), "");
  EXPECT_NE(with([](MetricRow& row) { row.help = ""; }), "");
  EXPECT_NE(with([](MetricRow& row) { row.read = nullptr; }), "");
  EXPECT_NE(with([](MetricRow& row) {
              row.name = "cache_count";
              row.type = MetricType::gauge;
            }),
            "");
  EXPECT_NE(with([](MetricRow& row) {
              row.name = "cache_time";
              row.type = MetricType::histogram;
            }),
            "");
}

TEST(MetricRows, OfOneNameEndTheStart) {
  const MetricRow row{.name = "things", .help = "Things.", .read = kRead};
  MetricTable table;
  table.add({&row, 1});
  EXPECT_THROW(table.add({&row, 1}), std::invalid_argument);
}

TEST(MetricRows, AreReadInTheirOrderWithLabelsEscaped) {
  const MetricRow rows[] = {
      {.name = "first",
       .help = "First.",
       .read =
           [](MetricReader& to) {
             to.add({{"kind", "a\"b\\c\nd"}, {"of", "x"}}, 1);
             to.add({{"kind", "b"}, {"of", "y"}}, 2);
           }},
      {.name = "second", .help = "Second.", .read = [](MetricReader& to) { to.add(3); }}};
  MetricTable table;
  table.add(rows);
  const std::vector<MetricSample> samples = table.read();
  ASSERT_EQ(samples.size(), 3u);
  EXPECT_EQ(samples[0].labels, R"(kind="a\"b\\c\nd",of="x")");
  EXPECT_EQ(samples[1].value, 2u);
  EXPECT_EQ(samples[1].row, 0u);
  EXPECT_EQ(samples[2].row, 1u);
  EXPECT_EQ(samples[2].labels, "");
}

TEST(MetricRows, OfAServiceAreThoseOfThePlan) {
  static constexpr MetricRow kRow{.name = "mine_total",
                                  .type = MetricType::counter,
                                  .help = "Mine.",
                                  .read = [](MetricReader& to) { to.add(1); }};
  services::NodeOptions options;
  options.services.push_back({.name = "mine", .opcodes = {}, .make = nullptr});
  options.services.back().metrics = {&kRow, 1};
  const services::NodePlan plan(options);
  std::size_t found = 0;
  for (const MetricRow& row : plan.metrics.rows()) found += row.name == "mine_total" ? 1U : 0U;
  EXPECT_EQ(found, 1u);
  options.services.push_back(options.services.back());
  EXPECT_THROW(services::NodePlan{options}, std::invalid_argument);
}

TEST(Heartbeats, TellTheFirstCoreThatIsLate) {
  services::Heartbeats beats;
  constexpr auto kWithin = services::Heartbeats::kAliveWithin;
  EXPECT_EQ(beats.first_late(4, 100 * kWithin), runtime::kNoCore);  // none has begun
  for (runtime::CoreId core = 0; core < 4; ++core) beats.beat(core, kWithin);
  EXPECT_EQ(beats.first_late(4, 2 * kWithin), runtime::kNoCore);
  EXPECT_EQ(beats.first_late(4, 2 * kWithin + 1), 0);
  beats.beat(0, 2 * kWithin);
  EXPECT_EQ(beats.first_late(4, 2 * kWithin + 1), 1);
  EXPECT_EQ(beats.first_late(1, 2 * kWithin + 1), runtime::kNoCore);
  beats.end(1);
  EXPECT_EQ(beats.first_late(4, 2 * kWithin + 1), 2);
}

}  // namespace
}  // namespace corelane
