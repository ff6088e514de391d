#pragma once
// AccountedSize: what one holder has in the account of its core, where the memory itself does not
// tell (AccountedAllocator): set() books the difference to what was booked before, and the
// destructor gives the rest back. On a thread that is no core (a test of a codec) nothing is
// counted.

#include <cstddef>

#include "runtime/core.hpp"

namespace corelane::runtime {

template <MemoryKind kKind>
class AccountedSize {
 public:
  AccountedSize() = default;
  ~AccountedSize() { set(0, 0); }
  AccountedSize(const AccountedSize&) = delete;
  AccountedSize& operator=(const AccountedSize&) = delete;

  // `unfinished`: what belongs to something that is not whole yet, of `bytes` or of memory that is
  // counted elsewhere.
  void set(std::size_t bytes, std::size_t unfinished) noexcept {
    if (bytes != bytes_ || unfinished != unfinished_) book(bytes, unfinished);
  }
  void set_unfinished(std::size_t unfinished) noexcept {
    if (unfinished != unfinished_) book(bytes_, unfinished);
  }
  std::size_t bytes() const noexcept { return bytes_; }
  std::size_t unfinished() const noexcept { return unfinished_; }

 private:
  void book(std::size_t bytes, std::size_t unfinished) noexcept {
    if (Core* const core = Core::current_or_null()) {
      MemoryAccount& memory = core->memory();
      memory.add(kKind, bytes);
      memory.remove(kKind, bytes_);
      memory.add_unfinished(unfinished);
      memory.remove_unfinished(unfinished_);
    }
    bytes_ = bytes;
    unfinished_ = unfinished;
  }

  std::size_t bytes_ = 0;
  std::size_t unfinished_ = 0;
};

}  // namespace corelane::runtime
