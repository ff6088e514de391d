#pragma once
// AccountedSize: the bytes of one holder in its core's account, for memory that does not count
// itself (AccountedAllocator does). set() books the difference to the last value; the destructor
// books the rest back. On a thread that is no core (a test of a codec) nothing is
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

  // `unfinished`: bytes of an unfinished message or body, part of `bytes` or counted elsewhere.
  // Call it whenever more of the message has come.
  void set(std::size_t bytes, std::size_t unfinished) noexcept {
    if (unfinished == 0 && unfinished_ == 0 && bytes == bytes_) return;
    book(bytes, unfinished);
  }
  // The same for memory that counts itself.
  void set_unfinished(std::size_t unfinished) noexcept { set(bytes_, unfinished); }
  std::size_t bytes() const noexcept { return bytes_; }
  std::size_t unfinished() const noexcept { return unfinished_; }
  // The time of the last booking: for an unfinished message, when its last part came.
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
