// The report as text.

#include <fmt/format.h>

#include <iterator>
#include <map>
#include <utility>

#include "perf/lines/line_counter.hpp"

namespace corelane::perf::lines {
namespace {

const char* text_of(Event event) noexcept {
  switch (event) {
    case Event::read:
      return "reads";
    case Event::write:
      return "writes";
    case Event::lock:
      return "locked instruction";
    case Event::mutex:
      return "mutex";
    case Event::allocate:
      return "allocation";
    case Event::free_foreign:
      return "memory of another thread freed";
  }
  return "";
}

}  // namespace

std::string describe(const SharedLine& line) {
  std::string text = fmt::format("{}, line {:#x}\n", line.memory, line.address);
  for (const Site& site : line.sites) {
    fmt::format_to(std::back_inserter(text), "{:10}  thread {} {}: {}\n", site.count, site.thread,
                   text_of(site.event), site.function);
  }
  return text;
}

std::string describe(const Report& report, double per, const char* unit) {
  std::string text;
  const auto out = std::back_inserter(text);
  const auto share = [per](std::uint64_t count) { return static_cast<double>(count) / per; };
  std::uint64_t accesses_of_all = 0;
  for (const std::uint64_t count : report.accesses) accesses_of_all += count;
  fmt::format_to(out, "{:.1f} accesses a {} on {} lines, of which {} are shared, in {:.2f} s\n",
                 share(accesses_of_all), unit, report.lines, report.shared.size(), report.seconds);
  const auto print_sites = [&](const std::vector<Site>& sites, const char* indent) {
    for (const Site& site : sites) {
      fmt::format_to(out, "{}{:10.5f}  thread {}, {}: {}\n", indent, share(site.count), site.thread,
                     text_of(site.event), site.function);
    }
  };
  print_sites(report.events, "");
  // Lines of the same use are told together.
  std::map<std::string, SharedLine> uses;
  std::map<std::string, std::size_t> counts;
  for (const SharedLine& line : report.shared) {
    SharedLine& use = uses[line.memory];
    ++counts[line.memory];
    use.moves += line.moves;
    use.sites.insert(use.sites.end(), line.sites.begin(), line.sites.end());
  }
  for (auto& [memory, use] : uses) {
    fmt::format_to(out, "{:10.5f}  moves of {} lines: {}\n", share(use.moves), counts[memory],
                   memory);
    print_sites(merged(std::move(use.sites)), "    ");
  }
  return text;
}

}  // namespace corelane::perf::lines
