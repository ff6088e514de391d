#pragma once
// A function that throws when it is moved for the n-th time: shows that each step on its way may
// fail. Returns 5.

namespace corelane::tests {

class ThrowsWhenMoved {
 public:
  struct Failure {};

  explicit ThrowsWhenMoved(int moves) noexcept : moves_left_(moves) {}
  ThrowsWhenMoved(ThrowsWhenMoved&& other) : moves_left_(other.moves_left_ - 1) {
    if (moves_left_ < 0) throw Failure{};
  }
  ThrowsWhenMoved(const ThrowsWhenMoved&) = delete;
  ThrowsWhenMoved& operator=(const ThrowsWhenMoved&) = delete;
  int operator()() const noexcept { return 5; }

 private:
  int moves_left_;
};

}  // namespace corelane::tests
