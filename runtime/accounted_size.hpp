#pragma once
// AccountedSize: what one holder has in the account of its core, where the memory itself does not
// tell (AccountedAllocator): set() books the difference to what was booked before, and the
// destructor gives the rest back. On a thread that is no core (a test of a codec) nothing is
// counted.

#include <cstddef>

#include "runtime/core.hpp"
#include "runtime/types.hpp"

namespace corelane::runtime {

template <MemoryKind kKind>
class AccountedSize {
 public:
  AccountedSize() = default;
  ~AccountedSize() { set(0, 0); }
  AccountedSize(const AccountedSize&) = delete;
  AccountedSize& operator=(const AccountedSize&) = delete;

  // `unfinished`: what belongs to something that is not whole yet, of `bytes` or of memory that is
  // counted elsewhere. Called whenever some of that has come.
  void set(std::size_t bytes, std::size_t unfinished) noexcept {
    if (unfinished == 0 && unfinished_ == 0 && bytes == bytes_) return;
    book(bytes, unfinished);
  }
  // The same, of memory that counts itself.
  void set_unfinished(std::size_t unfinished) noexcept { set(bytes_, unfinished); }
  std::size_t bytes() const noexcept { return bytes_; }
  std::size_t unfinished() const noexcept { return unfinished_; }
  // When it was last booked: while something is unfinished, when some of it last came.
  Nanoseconds booked_at() const noexcept { return booked_at_; }

 private:
  void book(std::size_t bytes, std::size_t unfinished) noexcept {
    if (Core* const core = Core::current_or_null()) {
      MemoryAccount& memory = core->memory();
      memory.add(kKind, bytes);
      memory.remove(kKind, bytes_);
      memory.add_unfinished(unfinished);
      memory.remove_unfinished(unfinished_);
      booked_at_ = core->now();
    }
    bytes_ = bytes;
    unfinished_ = unfinished;
  }

  std::size_t bytes_ = 0;
  std::size_t unfinished_ = 0;
  Nanoseconds booked_at_ = 0;
};

}  // namespace corelane::runtime
