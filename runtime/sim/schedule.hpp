#pragma once
// Schedule: the random decisions of a world, each with a name that says which core, operation and
// object it is about and how often that has come before. A decision that is not the quiet one
// (no fault, the shortest delay) is a line of text:
//
//     1.204113 ms  core 0: receive on stream 3 #2: step_delay = 4100123 ns
//
// CORELANE_RECORD=FILE writes these lines. CORELANE_SCHEDULE=FILE reads some of them: a decision
// that it names has the value of its line, every other one is quiet; lines that begin with '#' are
// comments. So a failing run can be shrunk by leaving out lines (corelane-sim-run). All worlds of a
// process share the files; the second one's names begin with "world 2: ".
//
// Belongs to the World; nothing outside runtime/sim uses it.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "runtime/types.hpp"

namespace corelane::runtime::sim {

class Schedule {
 public:
  // No more lines are written for a process: a program that spins must not fill the disk.
  static constexpr std::uint64_t kLinesMax = 200'000;

  struct Decision {
    const char* what = "";
    std::int64_t drawn = 0;  // of the seed
    std::int64_t quiet = 0;
    std::int64_t low = 0;  // a value of the file outside of [low, high] does not count
    std::int64_t high = 1;
    const char* unit = "";
  };

  // Null: neither variable is set. Ends the process if a file cannot be opened or understood.
  static std::unique_ptr<Schedule> of_environment();
  explicit Schedule(std::uint64_t world);

  bool replays() const noexcept { return replays_; }
  // What the following decisions are about; `note` stands in brackets behind their lines.
  void about(std::string_view subject, std::string_view note);
  // The value that counts.
  std::int64_t decide(const Decision& decision, Nanoseconds since_start);

 private:
  void write(const Decision& decision, std::int64_t value, Nanoseconds since_start);

  const std::string world_;  // what names begin with
  const bool replays_;
  std::string subject_;
  std::string note_;
  std::string name_;
  std::unordered_map<std::string, std::uint64_t> seen_;  // decisions, by what they are about
};

}  // namespace corelane::runtime::sim
