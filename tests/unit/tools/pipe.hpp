#pragma once
// A pipe of a test: what a command reads from, or prints to.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string_view>

namespace corelane::tools {

class Pipe {
 public:
  // `flags` as in pipe2(2).
  explicit Pipe(int flags = 0) { EXPECT_EQ(pipe2(ends_, O_CLOEXEC | flags), 0); }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  ~Pipe() {
    stop_reading();
    finish();
  }
  void write(std::string_view text) const {
    EXPECT_EQ(::write(ends_[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  void finish() { close_end(ends_[1]); }
  void stop_reading() { close_end(ends_[0]); }
  int reading() const { return ends_[0]; }
  int writing() const { return ends_[1]; }

 private:
  static void close_end(int& end) {
    if (end >= 0) close(end);
    end = -1;
  }
  int ends_[2] = {-1, -1};
};

}  // namespace corelane::tools
