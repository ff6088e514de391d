#include "runtime/result.hpp"

#include <fmt/format.h>

#include <cstring>

namespace corelane::runtime {

std::string describe(const Error& error) {
  switch (error.code) {
    case ErrorCode::system: {
      char text[128];
      return fmt::format("{} (errno {})", strerror_r(error.detail, text, sizeof text),
                         error.detail);
    }
    case ErrorCode::cancelled:
      return "cancelled";
    case ErrorCode::timed_out:
      return "timed out";
    case ErrorCode::closed:
      return "closed";
    case ErrorCode::limit_exceeded:
      return fmt::format("limit exceeded ({})", error.detail);
    case ErrorCode::unsupported:
      if (error.detail == 0) return "not supported in the simulation";
      return fmt::format("not supported by this kernel (operation {})", error.detail);
    case ErrorCode::invalid_argument:
      return fmt::format("invalid argument {}", error.detail);
    case ErrorCode::end_of_file:
      return "end of file";
  }
  return "unknown error";
}

}  // namespace corelane::runtime
