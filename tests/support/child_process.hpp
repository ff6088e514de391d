#pragma once
// Runs a function in a child process and returns what it said: for what cannot be undone in a
// process, such as seccomp filters and lowered limits. The child leaves by _exit, so nothing of the
// parent's is flushed or destroyed twice.

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace corelane::support {

struct ChildResult {
  int status = -1;     // of waitpid
  std::string output;  // what the function returned
  bool exited_normally() const { return WIFEXITED(status) && WEXITSTATUS(status) == 0; }
};

inline ChildResult run_in_child(const std::function<std::string()>& function) {
  int ends[2];
  if (pipe(ends) != 0) return {};
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    const std::string text = function();
    const bool written =
        write(ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size());
    _exit(written ? 0 : 1);
  }
  close(ends[1]);
  ChildResult result;
  char bytes[4096];
  for (ssize_t count; (count = read(ends[0], bytes, sizeof bytes)) > 0;) {
    result.output.append(bytes, static_cast<std::size_t>(count));
  }
  close(ends[0]);
  while (waitpid(child, &result.status, 0) < 0 && errno == EINTR) {
  }
  return result;
}

// From now on these system calls of this process end with `action`: SECCOMP_RET_ERRNO | errno, or
// SECCOMP_RET_KILL_PROCESS. True if the filter is in place. It cannot be taken off again.
inline bool filter_system_calls(const std::vector<long>& numbers, std::uint32_t action) {
  std::vector<sock_filter> program;
  program.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)));
  for (const long number : numbers) {
    program.push_back(
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(number), 0, 1));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, action));
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

}  // namespace corelane::support
