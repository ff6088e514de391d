#pragma once
// Guard: what a Mutex or a Semaphore has given out, given back when this is destroyed, on the core
// of its owner. Move-only.

#include <cstddef>
#include <utility>

namespace corelane::runtime::detail {

template <class Owner>
class [[nodiscard]] Guard {
 public:
  explicit Guard(Owner& owner, std::size_t amount = 1) noexcept : owner_(&owner), amount_(amount) {}
  Guard(Guard&& other) noexcept
      : owner_(std::exchange(other.owner_, nullptr)), amount_(other.amount_) {}
  // Releases its own, then takes the other one's over.
  Guard& operator=(Guard&& other) noexcept {
    if (this == &other) return *this;
    release();
    owner_ = std::exchange(other.owner_, nullptr);
    amount_ = other.amount_;
    return *this;
  }
  ~Guard() { release(); }
  // Earlier than at its end.
  void release() noexcept {
    if (owner_ != nullptr) std::exchange(owner_, nullptr)->give_back(amount_);
  }

  // Null: released, or moved away.
  Owner* owner() const noexcept { return owner_; }

 private:
  Owner* owner_;
  std::size_t amount_;
};

}  // namespace corelane::runtime::detail
