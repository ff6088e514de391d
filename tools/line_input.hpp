#pragma once
// Standard input for coroutines: lines, or all of it. Waiting for a person to type, or for a
// program to write, does not hold the core, so that pings are still answered.

#include <cstddef>
#include <optional>
#include <string>

#include "runtime/result.hpp"
#include "runtime/standard_io.hpp"
#include "runtime/task.hpp"

namespace corelane::tools {

class LineInput {
 public:
  // `descriptor` stays open, in the mode that it has. `bytes_max`: of one line, or of all.
  explicit LineInput(int descriptor, std::size_t bytes_max = kBytesMax) noexcept
      : descriptor_(descriptor), bytes_max_(bytes_max) {}

  // The next line without its end; the last one may lack it. Empty: the input has ended. Errors:
  // cancelled, limit_exceeded, the errno of read(2).
  runtime::Task<runtime::Result<std::optional<std::string>>> next_line();
  // Everything up to the end of the input.
  runtime::Task<runtime::Result<std::string>> rest();

  static constexpr std::size_t kBytesMax = 32 * 1024 * 1024;

 private:
  // False: the input has ended.
  runtime::Task<runtime::Result<bool>> read_more();

  runtime::StandardDescriptor descriptor_;
  std::size_t bytes_max_;
  std::string buffer_;
  std::size_t at_ = 0;        // where the next line begins
  std::size_t searched_ = 0;  // no end of line before this
  bool has_ended_ = false;
};

}  // namespace corelane::tools
