#pragma once
// AnswerChecker: one connection's incoming side: holds what comes against what must come, and finds
// the control frames between messages. Pure, no I/O.

#include <cstddef>
#include <cstdint>
#include <span>

namespace corelane::perf {

class AnswerChecker {
 public:
  virtual ~AnswerChecker() = default;

  enum class Found : std::uint8_t {
    drained,  // all bytes were good
    ping,     // answer control_payload(), then feed the rest
    close,    // the server says goodbye
    wrong,    // these bytes were never sent
  };
  struct Result {
    Found found = Found::drained;
    std::size_t consumed = 0;
    std::size_t messages = 0;  // whole answers that ended in what was consumed
  };
  virtual Result feed(std::span<const std::byte> bytes) = 0;
  // After `ping` or `close`, until the next feed().
  virtual std::span<const std::byte> control_payload() const noexcept = 0;

 protected:
  AnswerChecker() = default;
  AnswerChecker(const AnswerChecker&) = default;
  AnswerChecker& operator=(const AnswerChecker&) = default;
};

}  // namespace corelane::perf
