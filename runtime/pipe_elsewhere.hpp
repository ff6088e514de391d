#pragma once
// Pipes with one end for another process: that end blocks there, and its number is above those of
// the standard streams. Internal to runtime/ (runtime/process.cpp). The rest is runtime/pipe.hpp's.

#include "runtime/file.hpp"
#include "runtime/pipe.hpp"
#include "runtime/result.hpp"

namespace corelane::runtime::detail {

struct ReaderElsewhere {
  File elsewhere;
  PipeWriter writer;
};
struct WriterElsewhere {
  File elsewhere;
  PipeReader reader;
};
// Do not suspend. Errors: as make_pipe().
Result<ReaderElsewhere> make_pipe_to_elsewhere();
Result<WriterElsewhere> make_pipe_from_elsewhere();

}  // namespace corelane::runtime::detail
