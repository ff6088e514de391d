#include "runtime/sim/schedule.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>
#include <utility>

#include "runtime/assert.hpp"

namespace corelane::runtime::sim {
namespace {

constexpr std::string_view kAfterTime = " ms  ";
constexpr std::string_view kBeforeValue = " = ";
constexpr std::string_view kBeforeNote = "  (";

using Values = std::unordered_map<std::string, std::int64_t>;

// What the worlds of this process share, as long as the variables stay as they are.
struct Shared {
  std::string record_path;
  std::string schedule_path;
  std::FILE* record = nullptr;
  std::uint64_t lines = 0;
  std::optional<Values> values;
  std::uint64_t worlds = 0;
};

Shared& shared() {
  static Shared files;
  return files;
}

std::string variable(const char* name) {
  const char* const text = std::getenv(name);
  return text == nullptr ? "" : text;
}

[[noreturn]] void give_up(const std::string& reason) {
  fmt::print(stderr, "{}\n", reason);
  std::exit(2);
}

// The name and value of a line: "TIME ms  NAME[ = VALUE[ UNIT]][  (NOTE)]".
std::optional<std::pair<std::string, std::int64_t>> parse(std::string_view line) {
  const std::size_t time = line.find(kAfterTime);
  if (time == std::string_view::npos) return std::nullopt;
  line = line.substr(time + kAfterTime.size());
  line = line.substr(0, line.find(kBeforeNote));
  const std::size_t equals = line.find(kBeforeValue);
  std::int64_t value = 1;
  if (equals != std::string_view::npos) {
    const std::string_view number = line.substr(equals + kBeforeValue.size());
    const auto read = std::from_chars(number.data(), number.data() + number.size(), value);
    if (read.ec != std::errc{}) return std::nullopt;
  }
  const std::string_view name = line.substr(0, equals);
  if (name.empty()) return std::nullopt;
  return std::pair{std::string{name}, value};
}

Values read_values(const std::string& path) {
  std::ifstream file(path);
  if (!file) give_up(fmt::format("CORELANE_SCHEDULE={} cannot be read", path));
  Values values;
  std::string line;
  for (std::size_t number = 1; std::getline(file, line); ++number) {
    const std::size_t text = line.find_first_not_of(" \t\r");
    if (text == std::string::npos || line[text] == '#') continue;
    auto decision = parse(line);
    if (!decision) give_up(fmt::format("{}:{}: no decision of a simulation", path, number));
    values.insert(*std::move(decision));
  }
  return values;
}

}  // namespace

std::unique_ptr<Schedule> Schedule::of_environment() {
  const std::string record_path = variable("CORELANE_RECORD");
  const std::string schedule_path = variable("CORELANE_SCHEDULE");
  Shared& files = shared();
  if (files.record_path != record_path || files.schedule_path != schedule_path) {
    if (files.record != nullptr) std::fclose(files.record);
    files = {};
    files.record_path = record_path;
    files.schedule_path = schedule_path;
    if (!schedule_path.empty()) files.values = read_values(schedule_path);
    if (!record_path.empty()) {
      files.record = std::fopen(record_path.c_str(), "w");
      if (files.record == nullptr) {
        give_up(fmt::format("CORELANE_RECORD={} cannot be written", record_path));
      }
      // Line by line, so that the file is whole however the process ends.
      std::setvbuf(files.record, nullptr, _IOLBF, BUFSIZ);
    }
  }
  if (record_path.empty() && schedule_path.empty()) return nullptr;
  return std::make_unique<Schedule>(++files.worlds);
}

Schedule::Schedule(std::uint64_t world)
    : world_(world == 1 ? "" : fmt::format("world {}: ", world)),
      replays_(shared().values.has_value()) {}

void Schedule::about(std::string_view subject, std::string_view note) {
  subject_ = subject;
  note_ = note;
}

std::int64_t Schedule::decide(const Decision& decision, Nanoseconds since_start) {
  name_.clear();
  auto out = std::back_inserter(name_);
  fmt::format_to(out, "{}{}: {}", world_, subject_, decision.what);
  const std::uint64_t count = ++seen_[name_];
  name_.clear();
  fmt::format_to(out, "{}{} #{}: {}", world_, subject_, count, decision.what);
  std::int64_t value = replays_ ? decision.quiet : decision.drawn;
  if (replays_) {
    const auto& values = *shared().values;
    const auto found = values.find(name_);
    const bool counts =
        found != values.end() && found->second >= decision.low && found->second <= decision.high;
    if (counts) value = found->second;
  }
  if (value != decision.quiet) write(decision, value, since_start);
  return value;
}

void Schedule::write(const Decision& decision, std::int64_t value, Nanoseconds since_start) {
  Shared& files = shared();
  if (files.record == nullptr || files.lines > kLinesMax) return;
  if (files.lines++ == kLinesMax) {
    fmt::print(files.record, "# cut at {} decisions\n", kLinesMax);
    return;
  }
  std::string line =
      fmt::format("{:.6f}{}{}", static_cast<double>(since_start) / kMillisecond, kAfterTime, name_);
  auto out = std::back_inserter(line);
  const bool plain = decision.quiet == 0 && decision.high == 1;
  if (!plain) fmt::format_to(out, "{}{}{}", kBeforeValue, value, decision.unit);
  if (!note_.empty()) fmt::format_to(out, "{}{})", kBeforeNote, note_);
  line += '\n';
  std::fwrite(line.data(), 1, line.size(), files.record);
}

}  // namespace corelane::runtime::sim
