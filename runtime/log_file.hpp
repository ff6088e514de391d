#pragma once
// The log in a file, in place of stderr. The file is opened for appending (created with the rights
// 0640) and written by the log's own thread, so no core waits for the disk. Lines that the disk
// does not take are lost and counted, and the count is written as soon as something can be.
//
// Call both from one thread at a time. stdout and what a process says when it aborts are not
// affected.

#include <string>

#include "runtime/result.hpp"

namespace corelane::runtime {

// Before start_log(). Errors: errnos of open(2); the log stays on stderr.
Result<void> open_log_file(const std::string& path);
// Opens the same path again: after a program has renamed the file. The thread goes on with the new
// one at its next line. Errors: errnos of open(2), and the old file stays. Does nothing without a
// file.
Result<void> reopen_log_file();

}  // namespace corelane::runtime
